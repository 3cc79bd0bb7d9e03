//! Objects of a store (`s3://bucket/prefix`): what is there, and an address at which each can be had for a while. The bytes
//! then come like those of any other address, with resume, several connections and all.
//!
//! Behind the feature `object-store`: with it, the crate of that name knows requests, signatures and credentials (the
//! environment's `AWS_...`), and is given our own HTTP client. Without it, there is no way to open a store.

#[cfg(feature = "object-store")]
pub use with::Store;
#[cfg(not(feature = "object-store"))]
pub use without::Store;

#[cfg(not(feature = "object-store"))]
mod without {
    use std::convert::Infallible;

    use crate::fetch::{FetchError, HubOptions, Pin};

    /// A store of objects, which this build of the program cannot open.
    #[derive(Debug)]
    pub struct Store(Infallible);

    impl Store {
        /// Says how to build a program that can.
        ///
        /// # Errors
        /// [`FetchError::Setting`].
        pub fn open(_url: &str, _options: &HubOptions) -> Result<Self, FetchError> {
            let reason = "this program was built without stores of objects; build it with `--features object-store`";
            Err(FetchError::Setting {
                name: "[source.store]",
                reason: reason.to_owned(),
            })
        }

        /// There is no store to list.
        ///
        /// # Errors
        /// None.
        pub fn list(&self) -> Result<Vec<(String, Pin)>, FetchError> {
            match self.0 {}
        }

        /// There is no store that has an address.
        ///
        /// # Errors
        /// None.
        pub fn address(&self, _key: &str) -> Result<String, FetchError> {
            match self.0 {}
        }
    }
}

#[cfg(feature = "object-store")]
mod with {
    use std::future::Future;
    use std::io::Read;
    use std::pin::Pin as Pinned;
    use std::time::Duration;

    use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
    use object_store::client::{
        ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
        HttpResponse, HttpService,
    };
    use object_store::list::{PaginatedListOptions, PaginatedListStore};
    use object_store::path::Path;
    use object_store::signer::Signer;
    use object_store::{ClientOptions, RetryConfig};
    use tokio::runtime::Runtime;
    use ureq::Agent;
    use ureq::http::{Method, Response};

    use crate::fetch::http::agent;
    use crate::fetch::url::Url;
    use crate::fetch::{FetchError, HubOptions, Pin, path_problem};

    /// How long an address of an object is good.
    const SIGNED_FOR: Duration = Duration::from_secs(12 * 3600);
    /// Most objects of a store.
    const MAX_OBJECTS: usize = 2_000_000;
    /// Largest answer to a question, in bytes; a page of a listing has about 300 KB.
    const MAX_ANSWER_BYTES: u64 = 64 << 20;

    const FORBIDDEN: &str = "the store refuses; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public one";

    /// A store of objects, from a prefix on.
    #[derive(Debug)]
    pub struct Store {
        /// `s3://bucket/prefix`, without a slash at its end.
        name: String,
        /// With a slash at its end, or empty.
        prefix: String,
        s3: AmazonS3,
        signs: bool,
        runtime: Runtime,
        attempts: u32,
    }

    impl Store {
        /// Opens the store at `url`, as the environment's `AWS_...` describe it. Connects to nothing.
        ///
        /// # Errors
        /// [`FetchError::Setting`] where they do not describe one.
        pub fn open(url: &str, options: &HubOptions) -> Result<Self, FetchError> {
            let refuse = |error: object_store::Error| FetchError::Setting {
                name: "AWS_... (for [source.store])",
                reason: error.to_string(),
            };
            let rest = url.strip_prefix("s3://").unwrap_or(url);
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_http_connector(Connector {
                    timeout: options.timeout,
                })
                .with_retry(RetryConfig {
                    max_retries: usize::try_from(options.retries).unwrap_or(usize::MAX),
                    ..RetryConfig::default()
                });
            let signs = builder
                .get_config_value(&AmazonS3ConfigKey::SkipSignature)
                .is_none_or(|skips| skips != "true");
            if !signs {
                // An address is only made of a signature; this one is taken off again.
                builder = builder
                    .with_access_key_id("nobody")
                    .with_secret_access_key("nobody");
            }
            Ok(Self {
                name: format!("s3://{}", rest.trim_end_matches('/')),
                prefix: if prefix.is_empty() {
                    String::new()
                } else {
                    format!("{prefix}/")
                },
                s3: builder.build().map_err(refuse)?,
                signs,
                runtime: tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .map_err(FetchError::io("start the runtime of a store"))?,
                attempts: options.retries + 1,
            })
        }

        /// All objects below the prefix, by path.
        ///
        /// # Errors
        /// [`FetchError::Protocol`] where whoever asks may not list it or it is not there, [`FetchError::FileName`] where a path
        /// must not reach the file system, [`FetchError::Unreachable`] where it may pass.
        pub fn list(&self) -> Result<Vec<(String, Pin)>, FetchError> {
            let mut objects = Vec::new();
            let mut page_token = None;
            loop {
                let options = PaginatedListOptions {
                    page_token: page_token.take(),
                    ..PaginatedListOptions::default()
                };
                let page = self
                    .runtime
                    .block_on(self.s3.list_paginated(Some(&self.prefix), options))
                    .map_err(|error| self.failed(&error))?;
                for object in page.result.objects {
                    let location = object.location.to_string();
                    let path = location.strip_prefix(&self.prefix).unwrap_or(&location);
                    if let Some(reason) = path_problem(path) {
                        return Err(FetchError::FileName {
                            repo: self.name.clone(),
                            path: path
                                .chars()
                                .take(300)
                                .flat_map(char::escape_debug)
                                .collect(),
                            reason,
                        });
                    }
                    objects.push((
                        path.to_owned(),
                        Pin {
                            bytes: object.size,
                            etag: object.e_tag,
                            sha256: None,
                        },
                    ));
                }
                if objects.len() > MAX_OBJECTS {
                    return Err(FetchError::Protocol {
                        url: self.name.clone(),
                        reason: "lists more than two million objects".to_owned(),
                    });
                }
                page_token = page.page_token;
                if page_token.is_none() {
                    break;
                }
            }
            objects.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(objects)
        }

        /// An address at which the object can be had for some hours. It holds a signature, so it is for nobody's eyes.
        ///
        /// # Errors
        /// As [`Store::list`].
        pub fn address(&self, key: &str) -> Result<String, FetchError> {
            let path = Path::from(format!("{}{key}", self.prefix));
            let url = self
                .runtime
                .block_on(self.s3.signed_url(Method::GET, &path, SIGNED_FOR))
                .map_err(|error| self.failed(&error))?;
            let mut address = url.to_string();
            if !self.signs {
                address.truncate(address.find('?').unwrap_or(address.len()));
            }
            Ok(address)
        }

        fn failed(&self, error: &object_store::Error) -> FetchError {
            use object_store::Error;
            let url = self.name.clone();
            let refused = |remedy: &str| FetchError::Protocol {
                url: self.name.clone(),
                reason: format!("{remedy} ({error})"),
            };
            // The crate tells refusals of a listing from failures of the network by their text alone.
            let said = error.to_string();
            let status = |code: u16| said.contains(&format!("status code: {code} "));
            match error {
                Error::NotFound { .. } => refused("there is no such store or object; check `url`"),
                _ if status(404) => refused("there is no such store or object; check `url`"),
                Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
                    refused(FORBIDDEN)
                }
                _ if status(401) || status(403) => refused(FORBIDDEN),
                _ => FetchError::Unreachable {
                    url,
                    attempts: self.attempts,
                    reason: said,
                },
            }
        }
    }

    /// Gives the crate our own HTTP client.
    #[derive(Debug)]
    struct Connector {
        timeout: Duration,
    }

    impl HttpConnector for Connector {
        fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
            let allows = options.get_config_value(&ClientConfigKey::AllowHttp);
            Ok(HttpClient::new(Service {
                agent: agent(self.timeout, false),
                direct: agent(self.timeout, true),
                plain: allows.is_some_and(|allows| allows == "true"),
            }))
        }
    }

    #[derive(Debug)]
    struct Service {
        agent: Agent,
        direct: Agent,
        /// Whether http will do.
        plain: bool,
    }

    impl Service {
        fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            let wrong = |reason: &str| {
                HttpError::new(
                    HttpErrorKind::Unknown,
                    std::io::Error::other(reason.to_owned()),
                )
            };
            let (head, body) = request.into_parts();
            let url = Url::parse(&head.uri.to_string()).map_err(wrong)?;
            let origin = url.origin();
            if !(origin.is_https() || origin.is_loopback() || self.plain) {
                return Err(wrong("plain http is only used with AWS_ALLOW_HTTP=true"));
            }
            let agent = if origin.is_loopback() {
                &self.direct
            } else {
                &self.agent
            };
            let body = body.as_bytes().map(|bytes| bytes.to_vec());
            let request = ureq::http::Request::from_parts(head, body.unwrap_or_default());
            let interrupted =
                |error: ureq::Error| HttpError::new(HttpErrorKind::Interrupted, error);
            let (head, body) = agent.run(request).map_err(interrupted)?.into_parts();
            let mut bytes = Vec::new();
            body.into_reader()
                .take(MAX_ANSWER_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
            if bytes.len() as u64 > MAX_ANSWER_BYTES {
                return Err(wrong("the answer is too large"));
            }
            Ok(Response::from_parts(head, bytes.into()))
        }
    }

    impl HttpService for Service {
        // What `async_trait` makes of an async function. Nothing else runs on this runtime, so the thread may wait.
        fn call<'a, 'b>(
            &'a self,
            request: HttpRequest,
        ) -> Pinned<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async move { self.send(request) })
        }
    }
}
