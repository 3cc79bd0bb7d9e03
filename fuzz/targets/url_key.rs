//! No address makes its key panic, and what a key leaves out changes none.

#![no_main]

use andromeda_pipeline::dedup::url::url_key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &str| {
    let key = url_key(url);
    assert_eq!(key, url_key(&format!(" {url}\n")));
    assert_eq!(key, url_key(&format!("{url}#top")));
});
