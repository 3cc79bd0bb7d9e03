//! The loopback hub as a program: a folder of repositories stands in for the dataset hub.

use andromeda_tests::{HubConfig, LoopbackHub, Repository};
use anyhow::{Context, ensure};
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Serve a folder of dataset repositories in the hub's protocol, on this machine only.
///
/// Prints the variables to set on stdout once it listens: `HF_ENDPOINT=...` for the hub, `ANDROMEDA_WEB_MIRROR=...` for the
/// hosts of files that are elsewhere. Serves until it is interrupted.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder with one folder per repository: `ROOT/owner/name/...`
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Entries of a listing on one page
    #[arg(long, default_value_t = HubConfig::default().page_size)]
    page_size: usize,
    /// Repository that needs a token (may be repeated)
    #[arg(
        long,
        value_name = "OWNER/NAME",
        default_value = "bigcode/the-stack-dedup"
    )]
    gated: Vec<String>,
    /// Token with access to the gated ones (may be repeated); without any, every token has access
    #[arg(long, value_name = "TOKEN")]
    token: Vec<String>,
    /// Requests that are answered in ten seconds; more get 429 and the time to wait
    #[arg(long, value_name = "REQUESTS")]
    rate_limit: Option<u32>,
    /// Also serve `large/listing`, a repository of 5,534 small files
    #[arg(long)]
    large_listing: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let root = &arguments.root;
    let config = HubConfig {
        port: arguments.port,
        page_size: arguments.page_size,
        gated: arguments.gated.into_iter().collect(),
        tokens: arguments.token.into_iter().collect(),
        rate_limit: arguments
            .rate_limit
            .map(|requests| (requests, Duration::from_secs(10))),
    };
    let hub = LoopbackHub::start(config, []).context("cannot listen on 127.0.0.1")?;
    let count = hub
        .serve_samples(root)
        .with_context(|| format!("cannot serve {}", root.display()))?;
    ensure!(
        count > 0,
        "{} holds no <owner>/<name> folders",
        root.display()
    );
    if arguments.large_listing {
        hub.publish(Repository::of_many_files("large/listing", 5534));
    }
    let mut out = std::io::stdout();
    // In one piece: whoever wants the first line alone closes the pipe after it.
    let lines = format!(
        "HF_ENDPOINT={}\nANDROMEDA_WEB_MIRROR={}\n",
        hub.endpoint(),
        hub.mirror()
    );
    out.write_all(lines.as_bytes())?;
    out.flush()?;
    writeln!(
        std::io::stderr(),
        "serving {count} repositories; interrupt to end. What is planned on them is pinned in manifests/datasets.lock: \
         remove that file before you plan on the originals"
    )?;
    loop {
        std::thread::park();
    }
}
