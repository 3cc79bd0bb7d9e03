//! A build on a server becomes a checked copy on this machine, over connections and servers that fail in every way.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use andromeda_format::{
    Build, Loader, LoaderOptions, Sequence, Split, Store as _, copy_build, verify,
};
use andromeda_pipeline::fetch::{
    CopiedBuild, CopyError, CopyOptions, HubOptions, RemoteBuild, Web, copy,
};
use andromeda_pipeline::progress::{Event, Progress};
use andromeda_tests::{Content, HubConfig, LoopbackHub, Misbehaviour, RemoteEntry};
use fs_err as fs;

use super::{Ended, andromeda, ended};

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

const AT: &str = "https://builds.example.org/corpus%201";

/// Counts bytes, and stops the copy after some.
#[derive(Default)]
struct Counting {
    /// Bytes announced, received, found.
    told: Mutex<[u64; 3]>,
    most: Option<u64>,
    stop: AtomicBool,
}

impl Progress for Counting {
    fn event(&self, event: &Event) {
        let mut told = self.told.lock().unwrap();
        match event {
            Event::Stage { total, .. } => told[0] += total,
            Event::Advanced { by, reused, .. } => told[1 + usize::from(*reused)] += by,
            _ => {}
        }
        if self.most.is_some_and(|most| told[1] >= most) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Served {
    /// The library's copy, impatient with the server.
    fn copied(&self, root: Option<&str>, watch: &Counting) -> Result<CopiedBuild, CopyError> {
        let options = CopyOptions {
            address: AT.to_owned(),
            shards: self.folder.path().join("shards"),
            name: None,
            root: root.map(str::to_owned),
        };
        let hub = HubOptions::new(&self.hub.endpoint(), &self.folder.path().join("hub"));
        copy(&options, &self.web(), &hub, watch, &watch.stop)
    }

    fn program(&self, arguments: &str) -> Ended {
        let mut command = andromeda(self.folder.path(), arguments);
        command.env("ANDROMEDA_WEB_MIRROR", self.hub.mirror());
        command.env("HF_HOME", self.folder.path().join("hf"));
        ended(command.env_remove("HF_HUB_OFFLINE"))
    }
}

/// Bytes of the golden build's files, by the file system, without its manifest.
fn golden_bytes() -> u64 {
    let files = fs::read_dir(golden()).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_name() != "manifest.json");
    files.map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn a_copy_that_was_stopped_goes_on_and_tells_its_bytes() {
    let served = served();
    let first = Counting {
        most: Some(1),
        ..Counting::default()
    };
    let error = served.copied(None, &first).unwrap_err();
    assert!(matches!(error, CopyError::Interrupted), "{error}");
    let received = first.told.lock().unwrap()[1];
    assert!(received > 0 && received < golden_bytes());

    let second = Counting::default();
    let copied = served.copied(None, &second).unwrap();
    let [_, more, found] = *second.told.lock().unwrap();
    assert_eq!((more + found, found), (golden_bytes(), received));
    assert_eq!(
        (copied.bytes_there, copied.build.manifest()),
        (found, Build::open(&golden()).unwrap().manifest())
    );
    assert_eq!(verify(&copied.folder, &mut |_| {}).unwrap().faults, []);

    // A bit of the copy turns: that file comes again, and no other.
    let shard = copied.folder.join("train-00000.zst");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[20] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let third = Counting::default();
    served.copied(None, &third).unwrap();
    assert_eq!(third.told.lock().unwrap()[1], bytes.len() as u64);
}

#[test]
fn what_ends_a_copy_has_its_exit_code() {
    for (how, code, says) in [
        (Misbehaviour::Cut(5), 10, "gave up after"),
        (Misbehaviour::HangUp, 10, "gave up after"),
        (Misbehaviour::Corrupt(9), 30, "train-00001.zst"),
        (Misbehaviour::Shorten(1), 30, "train-00001.zst"),
        (Misbehaviour::Status(404, Vec::new()), 20, "train-00001.zst"),
    ] {
        let served = served();
        served.hub.spoil("train-00001.zst", u32::MAX, how.clone());
        let error = served.copied(None, &Counting::default()).unwrap_err();
        assert_eq!(error.exit_code(), code, "{how:?}: {error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let served = served();
    let error = served
        .copied(Some(&"0".repeat(64)), &Counting::default())
        .unwrap_err();
    assert_eq!(error.exit_code(), 30, "{error}");
    assert!(
        !served
            .folder
            .path()
            .join("shards")
            .join("made-up")
            .join("manifest.json")
            .exists()
    );
}

#[test]
fn the_program_copies_a_build_and_says_where_it_is() {
    let served = served();
    let ended = served
        .program(&format!("fetch-build {AT}"))
        .with(0, &["every byte is what the manifest says"]);
    let folder = served.folder.path().join(ended.stdout.trim());
    assert_eq!(
        Build::open(&folder).unwrap().manifest(),
        Build::open(&golden()).unwrap().manifest()
    );
    let said = served
        .program(&format!("fetch-build {AT} --json"))
        .with(0, &[]);
    let last: serde_json::Value =
        serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["bytes_there"], golden_bytes());
    served.program("verify").with(0, &[]);

    // Another build under this name stays as it is.
    let other = golden().with_file_name("wide");
    let taken = served.folder.path().join("shards/taken");
    fs::create_dir(&taken).unwrap();
    for entry in fs::read_dir(&other).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, taken.join(path.file_name().unwrap())).unwrap();
    }
    let before = super::tree(&taken);
    served
        .program(&format!("fetch-build {AT} --name taken"))
        .with(2, &["holds another build", "--name"]);
    assert_eq!(super::tree(&taken), before);
    for (arguments, code, says) in [
        (
            format!("fetch-build {AT} --name ../out"),
            2,
            "steps through",
        ),
        (format!("fetch-build {AT} --name .."), 2, "steps through"),
        (format!("fetch-build {AT} --name deep/er"), 2, "no slash"),
        (format!("fetch-build {AT} --name .hidden"), 2, "hidden"),
        (
            "fetch-build nowhere".to_owned(),
            2,
            "hint: write https://host/path",
        ),
        (format!("fetch-build {AT}?a=b"), 2, "query"),
        (
            "fetch-build https://builds.example.org/none".to_owned(),
            20,
            "404",
        ),
    ] {
        served.program(&arguments).with(code, &[says]);
    }
}
