//! One request and its patience: redirects followed by hand, the token bound to one origin, and a verdict on every failure:
//! may it pass (wait and try again) or not (say what to do). The HTTP client below follows nothing, decodes nothing and
//! treats no status as an error, so that each of these rules stands here in the open.
//!
//! The rule of the token: it goes to the endpoint's exact scheme, host and port, over https or to this machine. A redirect to
//! any other origin drops it for the rest of the chain, also where the chain comes back (CVE-2018-18074 and its relatives).

use std::io::Read;
use std::time::Duration;
use ureq::http::header::{self, HeaderName};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body, BodyReader};
use xxhash_rust::xxh3::xxh3_64;

use super::options::Token;
use super::url::Url;
use super::{FetchError, HubOptions, RepoId};

const MAX_REDIRECTS: usize = 10;

/// What a request is about, for messages.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub place: Place<'a>,
    pub what: &'a str,
}

/// Whose server answers.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// The hub, for a repository.
    Hub(&'a RepoId),
    /// Anybody's, at an address that a manifest names.
    Web,
}

/// How patient transfers are: the part of the options that every kind of server shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub timeout: Duration,
    pub retries: u32,
    pub first_wait: Duration,
    pub longest_wait: Duration,
    pub piece_bytes: u64,
    pub offline: bool,
}

/// Where a request goes, and whether the chain of redirects that led there has left its first origin.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub url: Url,
    pub away: bool,
}

impl Hop {
    pub(super) fn first(url: &Url) -> Self {
        Self {
            url: url.clone(),
            away: false,
        }
    }
}

/// The method of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

/// Why one attempt failed.
pub(super) enum Failure {
    /// It may pass; `after` is the server's own wish.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// It will not.
    Stop(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Stop(error)
    }
}

impl Failure {
    pub(super) fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }
}

/// Sends requests: to one hub with its token, or to anybody without one.
pub(super) struct Client {
    agent: Agent,
    /// For servers on this machine, which no proxy can reach.
    direct: Agent,
    endpoint: Option<Url>,
    token: Option<Token>,
}

/// The head of a final answer (200, 206 or 416) and its body.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: BodyReader<'static>,
    /// Where the answer came from.
    pub hop: Hop,
    /// The content that the hub redirected to, by its hash.
    pub linked: Option<String>,
}

/// The client below: follows nothing, decodes nothing, and takes no status for an error.
pub(super) fn agent(timeout: Duration, direct: bool) -> Agent {
    let mut config = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .accept_encoding("identity")
        .user_agent(concat!("andromeda/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections_per_host(16)
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout));
    if direct {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

impl Client {
    /// A client of the hub that the options name.
    pub(super) fn new(options: &HubOptions) -> Result<Self, FetchError> {
        let refuse = |reason: &str| FetchError::Setting {
            name: "HF_ENDPOINT",
            reason: reason.to_owned(),
        };
        let endpoint = Url::parse(&options.endpoint).map_err(refuse)?;
        if endpoint.query().is_some() {
            return Err(refuse("it holds a query"));
        }
        Ok(Self {
            endpoint: Some(endpoint),
            token: options.token.clone(),
            ..Self::anonymous(options.timeout)
        })
    }

    /// A client that has no token to lose.
    pub(super) fn anonymous(timeout: Duration) -> Self {
        Self {
            agent: agent(timeout, false),
            direct: agent(timeout, true),
            endpoint: None,
            token: None,
        }
    }

    /// Address of a path below the hub's endpoint; `path` is already escaped.
    pub(super) fn address(&self, path: &str, query: Option<String>) -> Url {
        let endpoint = self.endpoint.as_ref();
        endpoint
            .expect("only a client of the hub is asked for its addresses")
            .below(path, query)
    }

    fn may_carry_token(&self, url: &Url) -> bool {
        let origin = url.origin();
        let is_home = self
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| origin == endpoint.origin());
        is_home && (origin.is_https() || origin.is_loopback())
    }

    /// One attempt, redirects included.
    pub(super) fn get(
        &self,
        url: &Url,
        headers: &[(HeaderName, String)],
        subject: Subject<'_>,
    ) -> Result<Answer, Failure> {
        self.send(Method::Get, Hop::first(url), headers, subject)
    }

    /// One attempt from a hop on, redirects included.
    pub(super) fn send(
        &self,
        method: Method,
        from: Hop,
        headers: &[(HeaderName, String)],
        subject: Subject<'_>,
    ) -> Result<Answer, Failure> {
        let protocol = |url: &Url, reason: String| FetchError::Protocol {
            url: url.shown(),
            reason,
        };
        let mut hop = from;
        let mut linked = None;
        let agent = if hop.url.origin().is_loopback() {
            &self.direct
        } else {
            &self.agent
        };
        for _ in 0..=MAX_REDIRECTS {
            let trusted = !hop.away && self.may_carry_token(&hop.url);
            let token = self.token.as_ref().filter(|_| trusted);
            let mut request = match method {
                Method::Get => agent.get(hop.url.to_string()),
                Method::Head => agent.head(hop.url.to_string()),
            };
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token.bearer());
            }
            let response = request
                .call()
                .map_err(|error| self.classify(&hop.url, &error))?;
            let status = response.status();
            match status.as_u16() {
                200 | 206 | 416 => return self.open(hop, linked, response),
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get(header::LOCATION);
                    let next = redirect(&hop.url, location.and_then(|value| value.to_str().ok()));
                    let url = next.map_err(|reason| protocol(&hop.url, reason))?;
                    let tag = response.headers().get("x-linked-etag");
                    if let Some(tag) = tag.and_then(|tag| tag.to_str().ok())
                        && !hop.away
                    {
                        linked = Some(tag.trim_matches('"').to_owned());
                    }
                    let away = hop.away || url.origin() != hop.url.origin();
                    hop = Hop { url, away };
                }
                _ => return Err(self.refusal(&hop, &response, token.is_some(), subject)),
            }
        }
        Err(protocol(&hop.url, format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    fn open(
        &self,
        hop: Hop,
        linked: Option<String>,
        response: Response<Body>,
    ) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let coding = head.headers.get(header::CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            // A size and a hash belong to the file, not to what a proxy made of it.
            return Err(Failure::retry(format!(
                "{} sends an encoded body although none was asked for",
                hop.url.origin()
            )));
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.into_reader(),
            hop,
            linked,
        })
    }

    /// Failures below HTTP: all may pass, except those that our own request or configuration causes.
    fn classify(&self, url: &Url, error: &ureq::Error) -> Failure {
        match error {
            // Their messages may hold the whole address, signature included.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                let reason = "the address cannot be requested".to_owned();
                Failure::Stop(FetchError::Protocol {
                    url: url.shown(),
                    reason,
                })
            }
            _ => Failure::retry(error.to_string()),
        }
    }

    /// What an answer that is neither content nor redirect means.
    fn refusal(
        &self,
        hop: &Hop,
        response: &Response<Body>,
        token_sent: bool,
        subject: Subject<'_>,
    ) -> Failure {
        let status = response.status().as_u16();
        let text = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
        };
        // A signed address of the storage behind a server may have expired: the next attempt gets a new one.
        let passing = matches!(status, 408 | 425 | 429 | 500..=599) || (hop.away && status == 403);
        if passing {
            return Failure::Retry {
                reason: format!("HTTP {status}"),
                after: wish(response.headers()),
            };
        }
        let protocol = || FetchError::Protocol {
            url: hop.url.shown(),
            reason: format!("HTTP {status}"),
        };
        let (repo, holds, place) = match subject.place {
            Place::Hub(repo) => (repo.to_string(), repo.holds(), repo.on_hub()),
            Place::Web => {
                let remedy = match status {
                    401 | 403 => {
                        "its server gives it to nobody without a login; bring it here yourself and name its folder in [source.folder]"
                    }
                    404 | 410 => "check the address in the dataset's manifest",
                    _ => return Failure::Stop(protocol()),
                };
                return Failure::Stop(FetchError::Web {
                    url: hop.url.shown(),
                    status,
                    remedy,
                });
            }
        };
        let what = subject.what.to_owned();
        let message = text("x-error-message").to_ascii_lowercase();
        let gated = text("x-error-code") == "GatedRepo"
            || message.contains("gated")
            || message.contains("restricted");
        let insecure = self.token.is_some()
            && self
                .endpoint
                .as_ref()
                .is_some_and(|endpoint| !self.may_carry_token(endpoint));
        Failure::Stop(match status {
            401 | 403 if gated => FetchError::Gated {
                page: self.address(&place, None).shown(),
                holds,
                repo,
                remedy: match (token_sent, insecure) {
                    (true, _) => {
                        "run again (a token was sent; its account has no access yet, or it may not read gated repositories)"
                    }
                    (false, true) => {
                        "set HF_ENDPOINT to an https address (the token is not sent over plain http)"
                    }
                    (false, false) => "set HF_TOKEN to a token of that account",
                },
            },
            401 | 403 => FetchError::Refused {
                repo,
                what,
                status,
                remedy: match (token_sent, insecure) {
                    (true, _) => {
                        "check the id, and that the token in HF_TOKEN is valid and may read it"
                    }
                    (false, true) => {
                        "set HF_ENDPOINT to an https address (the token is not sent over plain http)"
                    }
                    (false, false) => {
                        "check the id; if it is private, set HF_TOKEN to a token that may read it"
                    }
                },
            },
            404 | 410 => FetchError::NotFound {
                repo,
                what,
                remedy: match text("x-error-code") {
                    "RepoNotFound" => "check the owner and name; if it is private, set HF_TOKEN",
                    "RevisionNotFound" => {
                        "check the revision; branches and tags are listed on its page"
                    }
                    "EntryNotFound" => "list the repository again; the file was moved or removed",
                    _ => "check the id and the revision",
                },
            },
            _ => protocol(),
        })
    }
}

/// Where a redirect leads, if it may be followed.
fn redirect(from: &Url, location: Option<&str>) -> Result<Url, String> {
    let location = location.ok_or("redirects without a readable Location")?;
    let next = from.join(location);
    let next =
        next.map_err(|rule| format!("redirects to an address that is not followed: {rule}"))?;
    if from.origin().is_https() && !next.origin().is_https() {
        return Err(format!(
            "redirects from https to {}; not followed",
            next.origin()
        ));
    }
    Ok(next)
}

/// The time that a busy server asks for: `Retry-After` in seconds or as a date (taken relative to the answer's own `Date`, so
/// that no clock of ours matters), or the `t` of the hub's `RateLimit` header, the seconds until its window ends.
fn wish(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let seconds = match text("retry-after") {
        Some(after) => after.parse().ok().or_else(|| {
            let (then, now) = (seconds_of_date(after)?, seconds_of_date(text("date")?)?);
            Some(then.saturating_sub(now))
        }),
        None => text("ratelimit").and_then(|limits| {
            let mut parts = limits.split([';', ',']).map(str::trim);
            // Only a window that is used up explains the failure.
            parts.clone().find(|part| *part == "r=0")?;
            parts.find_map(|part| part.strip_prefix("t=")?.parse().ok())
        }),
    };
    seconds.map(Duration::from_secs)
}

/// Seconds since 1970 of an `IMF-fixdate` (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words
        .next()?
        .parse()
        .ok()
        .filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()?;
    let year: u64 = words
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok().filter(|value| *value < 61));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // Years that begin in March put the leap day last.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days.checked_sub(719_468)?;
    Some(since_1970 * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Counts the attempts of one piece of work and says how long to wait before the next.
pub(super) struct Patience {
    manners: Manners,
    seed: u64,
    failures: u32,
}

impl Patience {
    /// The jitter is a function of `key` and the attempt: workers that start together do not return together.
    pub(super) fn new(manners: Manners, key: &str) -> Self {
        Self {
            manners,
            seed: xxh3_64(key.as_bytes()),
            failures: 0,
        }
    }

    pub(super) fn forgive(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt.
    ///
    /// # Errors
    /// [`FetchError::Unreachable`] when there is none.
    pub(super) fn wait(
        &mut self,
        url: &Url,
        reason: &str,
        after: Option<Duration>,
    ) -> Result<Duration, FetchError> {
        self.failures += 1;
        let give_up = |reason: String| FetchError::Unreachable {
            url: url.shown(),
            attempts: self.failures,
            reason,
        };
        if self.failures > self.manners.retries {
            return Err(give_up(reason.to_owned()));
        }
        if let Some(after) = after.filter(|after| *after > self.manners.longest_wait) {
            let asked = after.as_secs();
            return Err(give_up(format!(
                "{reason}, and the server asks to wait {asked} seconds"
            )));
        }
        let doubled = self
            .manners
            .first_wait
            .saturating_mul(1 << (self.failures - 1).min(16));
        let calm = doubled.min(self.manners.longest_wait);
        // Between one half and all of it.
        let mixed = xxh3_64(&(self.seed ^ u64::from(self.failures)).to_le_bytes());
        let share = 512 + u32::try_from(mixed % 512).expect("a remainder of 512 fits");
        let jittered = calm * share / 1024;
        Ok(after.map_or(jittered, |after| {
            after + jittered.min(Duration::from_secs(1))
        }))
    }
}

/// Reads a body that must stay below `limit` bytes.
pub(super) fn read_capped(answer: Answer, url: &Url, limit: u64) -> Result<Vec<u8>, Failure> {
    let announced = content_length(&answer.headers);
    let mut body = Vec::new();
    answer
        .body
        .take(limit + 1)
        .read_to_end(&mut body)
        .map_err(|error| Failure::retry(error.to_string()))?;
    let length = body.len() as u64;
    if length > limit {
        return Err(FetchError::Protocol {
            url: url.shown(),
            reason: format!("sends more than {limit} bytes"),
        }
        .into());
    }
    if announced.is_some_and(|announced| announced != length) {
        return Err(Failure::retry("the answer was cut short"));
    }
    Ok(body)
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        // `date -u -d '...' +%s`
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Fri, 31 Dec 2100 12:00:00 GMT", 4_133_937_600),
        ] {
            assert_eq!(seconds_of_date(date), Some(seconds), "{date}");
        }
        for bad in [
            "",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds_of_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn servers_wishes_are_understood() {
        let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (pairs, seconds) in [
            (vec![("retry-after", "7")], Some(7)),
            (
                vec![("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), now],
                Some(30),
            ),
            (
                vec![("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), now],
                Some(0),
            ),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], None),
            (vec![("retry-after", "later")], None),
            (vec![("ratelimit", "\"resolvers\";r=0;t=42")], Some(42)),
            (
                vec![("retry-after", "3"), ("ratelimit", "\"api\";r=0;t=42")],
                Some(3),
            ),
            (vec![("ratelimit", "\"api\";r=12;t=42")], None),
            (vec![], None),
        ] {
            assert_eq!(
                wish(&headers(&pairs)),
                seconds.map(Duration::from_secs),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn waits_double_stay_bounded_and_end() {
        let mut options = HubOptions::new("http://127.0.0.1", Path::new("cache"));
        options.retries = 12;
        let url = Url::parse("http://127.0.0.1/x?secret").unwrap();
        let mut patience = Patience::new(options.manners(), "file");
        for attempt in 0..12_u32 {
            let full = Duration::from_secs(1 << attempt).min(options.longest_wait);
            let wait = patience.wait(&url, "HTTP 503", None).unwrap();
            assert!(
                full / 2 <= wait && wait <= full,
                "attempt {attempt}: {wait:?} of {full:?}"
            );
        }
        let error = patience.wait(&url, "HTTP 503", None).unwrap_err();
        assert!(
            error.is_retriable()
                && error.to_string().contains("HTTP 503")
                && !error.to_string().contains("secret")
        );
        patience.forgive();
        let asked = Duration::from_secs(200);
        assert!(patience.wait(&url, "HTTP 429", Some(asked)).unwrap() >= asked);
        assert!(
            patience
                .wait(&url, "HTTP 429", Some(Duration::from_secs(301)))
                .unwrap_err()
                .is_retriable()
        );
    }

    #[test]
    fn the_token_never_travels_over_plain_http_between_machines() {
        for (endpoint, allowed) in [
            ("https://hub.example", true),
            ("http://hub.example", false),
            ("http://127.0.0.1:9", true),
            ("http://localhost:9", true),
            ("http://localhost.example:9", false),
        ] {
            let client = Client::new(&HubOptions::new(endpoint, Path::new("cache"))).unwrap();
            assert_eq!(
                client.may_carry_token(&client.address("x", None)),
                allowed,
                "{endpoint}"
            );
        }
    }

    #[test]
    fn no_redirect_leads_from_https_to_http() {
        let from = Url::parse("https://hub.example/a/b").unwrap();
        for good in [
            "/c",
            "c",
            "https://storage.example/x",
            "//storage.example/x",
            "HTTPS://hub.example:443/",
        ] {
            redirect(&from, Some(good)).unwrap_or_else(|reason| panic!("{good}: {reason}"));
        }
        for bad in [
            None,
            Some(""),
            Some("http://hub.example/a"),
            Some("HTTP://127.0.0.1/"),
            Some("ftp://hub.example/"),
            Some("https://user@hub.example/"),
        ] {
            assert!(redirect(&from, bad).is_err(), "{bad:?} was followed");
        }
        let from = Url::parse("http://127.0.0.1:1/a").unwrap();
        assert!(redirect(&from, Some("https://hub.example/")).is_ok());
    }

    #[test]
    fn a_useless_endpoint_is_refused_without_being_repeated() {
        for endpoint in [
            "",
            "hub.example",
            "https://user:canary@hub.example",
            "https://hub.example/?canary",
        ] {
            let error = Client::new(&HubOptions::new(endpoint, Path::new("cache")))
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains("HF_ENDPOINT") && !error.contains("canary"),
                "{error}"
            );
        }
    }
}
