//! A build on a server becomes a checked copy on this machine, over connections and servers that fail in every way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use andromeda_format::{
    Build, Loader, LoaderOptions, Sequence, Split, Store as _, copy_build, verify,
};
use andromeda_pipeline::fetch::{HubOptions, RemoteBuild, Web};
use andromeda_tests::{Content, HubConfig, LoopbackHub, Misbehaviour, RemoteEntry};
use fs_err as fs;

const ADDRESS: &str = "https://builds.example.org/corpus 1";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/tests/golden/v1/narrow")
}

struct Served {
    hub: LoopbackHub,
    folder: tempfile::TempDir,
}

fn served() -> Served {
    let hub = LoopbackHub::start(HubConfig::default(), []).unwrap();
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let content = Content::Memory(fs::read(&path).unwrap().into());
        let address = format!("https://builds.example.org/corpus%201/{name}");
        hub.serve_web(&address, RemoteEntry::new(content).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    Served { hub, folder }
}

impl Served {
    fn web(&self) -> Web {
        let mut options = HubOptions::new(&self.hub.endpoint(), &self.folder.path().join("hub"));
        (options.first_wait, options.retries) = (Duration::from_millis(1), 3);
        let downloads = self.folder.path().join("downloads");
        Web::new(&options, &downloads, Some(&self.hub.mirror())).unwrap()
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("copy")
    }

    fn copy(&self) -> andromeda_format::Result<Build> {
        let web = self.web();
        let address = ADDRESS.replace(' ', "%20");
        copy_build(
            &RemoteBuild::at(&web, &address),
            &self.target(),
            None,
            &mut |_| {},
        )
    }
}

#[test]
fn a_build_on_a_server_is_copied_checked_and_read() {
    let served = served();
    let build = served.copy().unwrap();
    let here = Build::open(&golden()).unwrap();
    assert_eq!(build.manifest(), here.manifest());
    assert_eq!(verify(&served.target(), &mut |_| {}).unwrap().faults, []);
    let mut loaders = [build, here]
        .map(|build| Loader::new(&build, Split::Train, LoaderOptions::new(8, 5)).unwrap());
    let mut sequences = [Sequence::default(), Sequence::default()];
    for position in 0..200 {
        for (loader, sequence) in loaders.iter_mut().zip(&mut sequences) {
            loader.read(position, sequence).unwrap();
        }
        assert_eq!(sequences[0], sequences[1]);
    }
}

#[test]
fn servers_that_fail_for_a_while_are_asked_again() {
    for how in [
        Misbehaviour::Cut(5),
        Misbehaviour::HangUp,
        Misbehaviour::Status(503, Vec::new()),
    ] {
        let served = served();
        served.hub.spoil("train-00001.zst", 2, how);
        served.copy().unwrap();
        assert_eq!(verify(&served.target(), &mut |_| {}).unwrap().faults, []);
        assert!(served.hub.spoilt() > 0);
    }
}

#[test]
fn what_a_server_sends_wrong_is_never_published() {
    for (how, says) in [
        (Misbehaviour::Corrupt(9), "sha256"),
        (Misbehaviour::Zeros(0), "sha256"),
        (Misbehaviour::ShiftRange(1), "does not send bytes"),
        (Misbehaviour::Shorten(1), "bytes long"),
        (Misbehaviour::AnnounceMore(7), "bytes long"),
        (Misbehaviour::Status(404, Vec::new()), "train-00001.zst"),
    ] {
        let served = served();
        served.hub.spoil("train-00001.zst", u32::MAX, how);
        let error = served.copy().unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        assert!(text.contains(says), "{text}");
        let names: Vec<String> = fs::read_dir(served.target())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            !names
                .iter()
                .any(|name| name.contains("train-00001") || name == "manifest.json"),
            "{names:?}"
        );
        served.hub.mend();
        served.copy().unwrap();
    }
}

#[test]
fn without_a_network_nothing_is_asked() {
    let served = served();
    let mut options = HubOptions::new(&served.hub.endpoint(), served.folder.path());
    options.offline = true;
    let web = Web::new(&options, served.folder.path(), Some(&served.hub.mirror())).unwrap();
    let remote = RemoteBuild::at(&web, "https://builds.example.org/corpus%201");
    assert!(remote.length("manifest.json").unwrap_err().is_io());
    assert!(remote.read("manifest.json", 0..4, &mut Vec::new()).is_err());
    assert_eq!(served.hub.connections(), 0);
}
