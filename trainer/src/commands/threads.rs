//! The threads that kernels work on.

use andromeda_trainer::error::{Error, Result};

/// Makes them: `count`, or as many as `RAYON_NUM_THREADS` says or there are processors. The calling thread is one of them, so that it does
/// its part of a kernel instead of waking others up for it and going to sleep, which took 4 % of the steps of small models.
///
/// # Errors
/// The system gives no threads, or they were made before.
pub(crate) fn begin(count: Option<usize>) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count.unwrap_or(0))
        .use_current_thread()
        .build_global()
        .map_err(|error| Error::Io {
            what: "starting threads".to_owned(),
            source: std::io::Error::other(error),
        })
}
