//! The loopback hub as a program: a folder of repositories stands in for the dataset hub.

use andromeda_tests::{HubConfig, LoopbackHub, Repository};
use anyhow::{Context, ensure};
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;

/// Serve a folder of dataset repositories in the hub's protocol, on this machine only.
///
/// Prints `HF_ENDPOINT=...` on stdout once it listens, and serves until it is interrupted.
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
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let root = &arguments.root;
    let repositories =
        Repository::open_all(root).with_context(|| format!("cannot serve {}", root.display()))?;
    ensure!(
        !repositories.is_empty(),
        "{} holds no <owner>/<name> folders",
        root.display()
    );
    let count = repositories.len();
    let config = HubConfig {
        port: arguments.port,
        page_size: arguments.page_size,
        gated: arguments.gated.into_iter().collect(),
        tokens: arguments.token.into_iter().collect(),
    };
    let hub = LoopbackHub::start(config, repositories).context("cannot listen on 127.0.0.1")?;
    let mut out = std::io::stdout();
    writeln!(out, "HF_ENDPOINT={}", hub.endpoint())?;
    out.flush()?;
    writeln!(
        std::io::stderr(),
        "serving {count} repositories; interrupt to end"
    )?;
    loop {
        std::thread::park();
    }
}
