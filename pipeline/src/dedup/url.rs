//! One key for the addresses under which one page is asked for, so that its copies meet by address before anything is known
//! of their texts.
//!
//! What is dropped or changed, rule by rule; whatever no rule names stays, byte for byte:
//!
//! 1. White space and control characters around the address.
//! 2. `http://`, `https://` and a bare `//`, in any case: the same page. Another scheme is part of the key, in lower case.
//! 3. The case of the host. (An internationalized name and its `xn--` form stay two.)
//! 4. One `www.` before the host, if anything is left.
//! 5. The ports 80 and 443, and a `:` without a port, unless the scheme is another.
//! 6. The fragment, from the first `#` on.
//! 7. Parameters of the query that say where a reader came from: `utm_` anything, `fbclid`, `gclid`, in any case; and empty
//!    ones. The others stay in their order, as servers may heed it. A query without parameters goes whole.
//! 8. Slashes at the end of the path. (A path's case counts, and `%41` and `A` stay two.)

use xxhash_rust::xxh3::xxh3_128;

/// The hash of the address in its plainest form; `None` for an address without a host, which names no page by itself.
///
/// Addresses that differ only by the rules above have one key. A hash is no address: two keys that are equal are taken for
/// equal addresses, which fails once in 10^17 for 10^11 of them.
#[must_use]
pub fn url_key(url: &str) -> Option<u128> {
    plain(url).map(|plain| xxh3_128(plain.as_bytes()))
}

/// What [`url_key`] hashes.
fn plain(url: &str) -> Option<String> {
    let around = |character: char| character.is_whitespace() || character.is_control();
    let (scheme, rest) = without_scheme(before(url, '#').trim_matches(around));
    let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(path_start);
    let path = before(rest, '?');
    let query = rest[path.len()..].strip_prefix('?').unwrap_or_default();

    // A user's name and password before the host have case.
    let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let host = host.to_lowercase();
    let mut host = host.as_str();
    if scheme.is_none() {
        host = [":80", ":443", ":"]
            .into_iter()
            .find_map(|port| host.strip_suffix(port))
            .unwrap_or(host);
    }
    host = host
        .strip_prefix("www.")
        .filter(|bare| !bare.is_empty())
        .unwrap_or(host);
    if host.is_empty() {
        return None;
    }

    let mut plain = scheme.map_or_else(String::new, |scheme| scheme + "://");
    plain.push_str(user);
    plain.push_str(host);
    plain.push_str(path.trim_end_matches('/'));
    let mut mark = '?';
    for parameter in query.split('&').filter(|parameter| !is_idle(parameter)) {
        plain.push(mark);
        plain.push_str(parameter);
        mark = '&';
    }
    Some(plain)
}

fn before(text: &str, end: char) -> &str {
    text.split(end).next().unwrap_or_default()
}

/// The scheme in lower case, unless it is one of the web or none, and what follows it.
fn without_scheme(url: &str) -> (Option<String>, &str) {
    let Some((scheme, rest)) = url.split_once("//") else {
        return (None, url);
    };
    if scheme.is_empty() {
        return (None, rest);
    }
    let Some(scheme) = scheme.strip_suffix(':') else {
        return (None, url);
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
    if !is_scheme {
        return (None, url);
    }
    let scheme = scheme.to_ascii_lowercase();
    let is_web = matches!(scheme.as_str(), "http" | "https");
    ((!is_web).then_some(scheme), rest)
}

/// Whether a parameter of a query is empty or says only where the reader came from.
fn is_idle(parameter: &str) -> bool {
    let name = before(parameter, '=').to_ascii_lowercase();
    parameter.is_empty() || name.starts_with("utm_") || matches!(name.as_str(), "fbclid" | "gclid")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The addresses of a line, between spaces, have one key.
    fn assert_one(line: &str) -> u128 {
        let keys: Vec<_> = line.split(' ').map(|url| (url, url_key(url))).collect();
        assert!(keys.iter().all(|(_, key)| *key == keys[0].1), "{keys:?}");
        keys[0].1.unwrap()
    }

    fn assert_apart(line: &str) {
        let urls: Vec<&str> = line.split(' ').collect();
        let keys: std::collections::BTreeSet<_> = urls.iter().map(|url| url_key(url)).collect();
        assert_eq!(keys.len(), urls.len(), "{line}");
    }

    #[test]
    fn the_web_has_one_scheme_and_others_are_their_own() {
        assert_one("http://a.org/x https://a.org/x HTTPS://a.org/x //a.org/x a.org/x");
        assert_one("ftp://a.org/x FTP://a.org/x");
        assert_apart("http://a.org/x ftp://a.org/x gemini://a.org/x");
    }

    #[test]
    fn the_host_is_in_lower_case_without_www_and_default_port() {
        assert_one(
            "a.org/X A.ORG/X www.a.org/X WWW.A.org/X a.org:80/X https://www.a.org:443/X a.org:/X",
        );
        assert_one("\u{c9}t\u{e9}.fr \u{e9}t\u{e9}.fr");
        assert_apart("a.org a.org:8080 a.org:4430 b.a.org www2.a.org wwwa.org");
        assert_apart("ftp://a.org:80/ ftp://a.org/");
        assert_apart("www.a.org www.www.a.org");
        assert_apart("Me@a.org me@a.org a.org");
        assert_one("Me@A.org Me@www.a.org http://Me@a.org:80");
        assert!(url_key("www.").is_some());
    }

    #[test]
    fn fragment_and_slashes_at_the_end_go() {
        assert_one("a.org a.org/ a.org// a.org#top a.org/# a.org/#!/x/y a.org/?#x");
        assert_one("a.org/b/c a.org/b/c/ a.org/b/c/#d#e");
        assert_one("a.org/b?c=d a.org/b/?c=d");
        assert_apart("a.org/b a.org/B a.org/b/c a.org//b a.org/%62 a.org/b?c=d/");
    }

    #[test]
    fn parameters_that_say_where_a_reader_came_from_go() {
        assert_one("a.org/b a.org/b? a.org/b?utm_source=x a.org/b?UTM_x&&fbclid=1&gclid a.org/b?&");
        assert_one("a.org/?p=1&q=2 a.org?p=1&utm_medium=m&q=2 a.org/?gclid=3&p=1&q=2&");
        assert_apart(
            "a.org/?p=1&q=2 a.org/?q=2&p=1 a.org/?p=1 a.org/?p a.org/?p= a.org/?utm=1 a.org/?gclids=1 a.org/?xutm_source=1",
        );
        assert_apart("a.org/utm_source=1 a.org/");
    }

    #[test]
    fn white_space_and_control_characters_around_go() {
        assert_eq!(url_key(" \n\0http://a.org/ \r\n"), url_key("a.org"));
        assert_ne!(url_key("a.org/b c"), url_key("a.org/bc"));
    }

    #[test]
    fn an_address_without_a_host_has_no_key() {
        for url in [
            "",
            " \n",
            "#",
            "http://",
            "https:///path",
            "/path",
            "?q",
            "//",
            "file:///etc",
            "http://:80/",
            "http://me@/x",
            "://",
            "https://#top",
        ] {
            assert_eq!(plain(url), None, "{url}");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_plain_address() {
        let url = "HTTPS://www.Example.ORG:443/A/b/?y=2&utm_source=z&x=1#end";
        assert_eq!(plain(url).unwrap(), "example.org/A/b?y=2&x=1");
        assert_eq!(url_key(url), Some(xxh3_128(b"example.org/A/b?y=2&x=1")));
    }

    fn parts_of_urls() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "http",
            "HTTPS",
            "ftp",
            ":",
            "//",
            "/",
            "www.",
            "WWW.",
            "a.org",
            "B",
            ":80",
            ":443",
            "@",
            "?",
            "&",
            "=",
            "#",
            "utm_source=1",
            "fbclid",
            "gclid=2",
            "p=1",
            "%20",
            " ",
            "\0",
            "\u{130}",
            "\u{e9}",
            "\u{3000}",
            "\u{1f600}",
            "[::1]",
            "\\",
        ]);
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_parts_of_addresses_make_it_panic(url in parts_of_urls()) {
            if let Some(plain) = plain(&url) {
                prop_assert!(!plain.is_empty() && !plain.contains('#'));
            }
            // What is dropped at an end does not matter, whatever stands before it.
            prop_assert_eq!(url_key(&url), url_key(&format!(" {url}\n")));
            prop_assert_eq!(url_key(&url), url_key(&format!("{url}#x")));
        }

        #[test]
        fn no_text_makes_it_panic(url in "\\PC{0,60}") {
            let _ = url_key(&url);
        }

        #[test]
        fn scheme_www_port_and_tracking_change_no_key(host in "[a-v]{1,3}\\.[a-z]{2}", path in "(/[a-zA-Z0-9%.]{1,4}){0,3}", query in "([a-z]=[0-9A-Z]{1,3}&){0,3}") {
            let plain = url_key(&format!("{host}{path}?{query}"));
            prop_assert!(plain.is_some());
            prop_assert_eq!(plain, url_key(&format!("https://www.{}:443{path}/?utm_x=y&{query}gclid=1#z", host.to_uppercase())));
        }
    }
}
