//! Addresses: just enough of RFC 3986 to compare origins exactly and to follow a `Location`. Anything ambiguous between
//! parsers (user info, backslashes, spaces, non-ASCII) is refused instead of interpreted, because the token's safety
//! rests on this file and the HTTP client agreeing on which host an address names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An absolute `http` or `https` address without fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    origin: Origin,
    /// Begins with `/`.
    path: String,
    query: Option<String>,
}

/// Scheme, host and port: equal origins, and only those, share a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// True where bytes cannot leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let v6 = self
            .host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        self.host == "localhost"
            || self
                .host
                .parse::<Ipv4Addr>()
                .is_ok_and(|ip| ip.is_loopback())
            || v6
                .and_then(|host| host.parse::<Ipv6Addr>().ok())
                .is_some_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(out, "{scheme}://{}", self.host)?;
        if self.port != usual {
            write!(out, ":{}", self.port)
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin, self.path)?;
        self.query
            .as_ref()
            .map_or(Ok(()), |query| write!(out, "?{query}"))
    }
}

impl Url {
    /// Reads an absolute address.
    ///
    /// # Errors
    /// The rule that the address breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        check_characters(text)?;
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("it must begin with https:// or http://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it must begin with https:// or http://"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it holds a user name");
        }
        let (host, port) = match authority.rfind(':') {
            // The last colon of a bare IPv6 address is inside its brackets.
            Some(colon) if !authority[colon..].contains(']') => {
                let digits = &authority[colon + 1..];
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err("its port is not a number");
                }
                (
                    &authority[..colon],
                    digits.parse().map_err(|_| "its port is over 65535")?,
                )
            }
            _ => (authority, if https { 443 } else { 80 }),
        };
        check_host(host)?;
        let (path, query) = split_tail(tail);
        let path = if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        };
        Ok(Self {
            origin: Origin {
                https,
                host: host.to_ascii_lowercase(),
                port,
            },
            path,
            query,
        })
    }

    /// Follows a reference as it stands in a `Location` header (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// The rule that the reference breaks.
    pub(crate) fn join(&self, reference: &str) -> Result<Self, &'static str> {
        check_characters(reference)?;
        if reference.is_empty() {
            return Err("it is empty");
        }
        if reference.starts_with("//") {
            let scheme = if self.origin.https { "https:" } else { "http:" };
            return Self::parse(&format!("{scheme}{reference}"));
        }
        // A colon before any delimiter of the path makes it a scheme.
        let delimiter = reference.find(['/', '?', '#']).unwrap_or(reference.len());
        if reference[..delimiter].contains(':') {
            return Self::parse(reference);
        }
        let (path, query) = split_tail(reference);
        let path = if path.is_empty() {
            self.path.clone()
        } else if path.starts_with('/') {
            remove_dots(path)
        } else {
            let folder = self
                .path
                .rfind('/')
                .map_or("", |slash| &self.path[..=slash]);
            remove_dots(&format!("{folder}{path}"))
        };
        Ok(Self {
            origin: self.origin.clone(),
            path,
            query,
        })
    }

    /// The address below this one, which serves as the root of an endpoint; `path` is already escaped.
    pub(crate) fn below(&self, path: &str, query: Option<String>) -> Self {
        let path = format!("{}/{path}", self.path.trim_end_matches('/'));
        Self {
            origin: self.origin.clone(),
            path,
            query,
        }
    }

    /// The same address on a mirror, which keeps every host's files in a folder of the host's name.
    pub(crate) fn mirrored(&self, mirror: &Self) -> Self {
        let host = self.origin.to_string();
        let host = host.split_once("://").map_or("", |(_, host)| host);
        mirror.below(&format!("{host}{}", self.path), self.query.clone())
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The address for people: without the query, where signatures are.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path.trim_end_matches('/'))
    }
}

fn check_characters(text: &str) -> Result<(), &'static str> {
    if text.len() > 16 * 1024 {
        return Err("it is over 16 KiB long");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds a space, a control character or a letter outside ASCII");
    }
    if text.contains('\\') {
        return Err("it holds a backslash");
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if let Some(v6) = host.strip_prefix('[') {
        let v6 = v6
            .strip_suffix(']')
            .ok_or("its host is not closed by `]`")?;
        return v6
            .parse::<Ipv6Addr>()
            .map(drop)
            .map_err(|_| "its host is not an IPv6 address");
    }
    if host.is_empty() || host.len() > 253 {
        return Err("its host is empty or too long");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.bytes().all(plain) {
        Ok(())
    } else {
        Err("its host is not a host name")
    }
}

/// Path and query of what follows the authority; the fragment is dropped.
fn split_tail(tail: &str) -> (&str, Option<String>) {
    let tail = tail.split_once('#').map_or(tail, |(before, _)| before);
    tail.split_once('?')
        .map_or((tail, None), |(path, query)| (path, Some(query.to_owned())))
}

fn remove_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Escapes one component of a path, slashes included (`refs/convert/parquet` becomes `refs%2Fconvert%2Fparquet`).
pub(crate) fn escape(component: &str) -> String {
    let mut escaped = String::with_capacity(component.len());
    for byte in component.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Escapes a path, keeping its slashes.
pub(crate) fn escape_path(path: &str) -> String {
    path.split('/').map(escape).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn origins_are_equal_only_with_scheme_host_and_port() {
        let home = url("https://hub.example/x");
        for same in [
            "https://hub.example",
            "https://HUB.example:443/y?z",
            "HTTPS://hub.example/#f",
        ] {
            assert_eq!(url(same).origin(), home.origin(), "{same}");
        }
        for other in [
            "http://hub.example/x",
            "https://hub.example:444/x",
            "https://hub.example.evil.example/x",
            "https://evilhub.example/x",
            "https://hub.example./x",
            "http://hub.example:443/x",
        ] {
            assert_ne!(url(other).origin(), home.origin(), "{other}");
        }
    }

    #[test]
    fn ambiguous_addresses_are_refused() {
        for bad in [
            "",
            "hub.example",
            "ftp://hub.example/",
            "file:///etc/passwd",
            "https://",
            "https:///path",
            "https://user@hub.example/",
            "https://hub.example@evil.example/",
            "https://user:secret@hub.example/",
            "https://hub.example\\@evil.example/",
            "https://hub.example /",
            "https://hub.example/a b",
            "https://hub.example/\r\nX: y",
            "https://h\u{fc}b.example/",
            "https://hub.example:/",
            "https://hub.example:+443/",
            "https://hub.example:65536/",
            "https://[::1/",
            "https://[zz]/",
            "https://hub%2eexample/",
            "https://hub.example,evil.example/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn locations_are_followed_as_rfc_3986_says() {
        let base = url("http://a.example:8080/b/c/d?q");
        for (reference, expected) in [
            ("http://z.example/x", "http://z.example/x"),
            ("//z.example/x?y", "http://z.example/x?y"),
            ("/x/y?z#w", "http://a.example:8080/x/y?z"),
            ("g", "http://a.example:8080/b/c/g"),
            ("./g/", "http://a.example:8080/b/c/g/"),
            ("../g", "http://a.example:8080/b/g"),
            ("../../../g", "http://a.example:8080/g"),
            ("..", "http://a.example:8080/b/"),
            ("?y=1", "http://a.example:8080/b/c/d?y=1"),
        ] {
            assert_eq!(
                base.join(reference).unwrap().to_string(),
                expected,
                "{reference}"
            );
        }
        for bad in [
            "",
            "javascript:alert(1)",
            "https://u@z.example/",
            "data:,x",
            "//u@z.example/x",
        ] {
            assert!(base.join(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for local in [
            "http://localhost:1",
            "http://127.0.0.1/",
            "http://127.9.8.7",
            "http://[::1]:80/",
        ] {
            assert!(url(local).origin().is_loopback(), "{local}");
        }
        for remote in [
            "http://localhost.example",
            "http://128.0.0.1",
            "http://127.0.0.1.example",
            "http://[::2]/",
        ] {
            assert!(!url(remote).origin().is_loopback(), "{remote}");
        }
    }

    #[test]
    fn escaping_keeps_only_unreserved_characters() {
        assert_eq!(escape("refs/convert/parquet"), "refs%2Fconvert%2Fparquet");
        assert_eq!(
            escape_path("a b/50%/\u{e9}+?#.txt"),
            "a%20b/50%25/%C3%A9%2B%3F%23.txt"
        );
    }

    #[test]
    fn an_endpoint_may_have_a_path_and_messages_have_no_query() {
        let root = url("https://mirror.example/hf/");
        let page = root.below("api/datasets/a/b", Some("secret=1".to_owned()));
        assert_eq!(
            page.to_string(),
            "https://mirror.example/hf/api/datasets/a/b?secret=1"
        );
        assert_eq!(page.shown(), "https://mirror.example/hf/api/datasets/a/b");
    }
}
