//! A folder of sample repositories, served as the hub and the web serve the originals.
//!
//! Most are repositories as they are. Some originals are not: `RedPajama` keeps lists of addresses on the hub and its files on a
//! host of its own, and PRM800K is in Git LFS at a forge. What the hub itself adds to every dataset, the branch
//! `refs/convert/parquet`, is made of the parquet files that are there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::completed;
use crate::hub::LoopbackHub;
use crate::repository::{Content, RemoteEntry, Repository};

/// The branch of parquet files that the hub makes.
pub const CONVERTED: &str = "refs/convert/parquet";
/// The dataset that is lists of addresses.
pub const LISTED: &str = "togethercomputer/RedPajama-Data-1T";
/// How its addresses begin.
pub const LISTED_PREFIX: &str = "https://data.together.xyz/redpajama-data-1T/v1.0.0/";
/// The dataset that is in Git LFS at a forge.
pub const FORGED: &str = "openai/prm800k";
/// Where the forge gives out the contents of its large files.
pub const FORGED_PREFIX: &str = "https://media.githubusercontent.com/media/openai/prm800k/main/";
/// Where the forge gives out what is in git: of large files, the pointers.
pub const FORGED_RAW_PREFIX: &str = "https://raw.githubusercontent.com/openai/prm800k/main/";
/// Folders of tokenizers, and the models that they are of.
const TOKENIZERS: [(&str, &str); 2] = [
    ("gpt-neox-20b", "models/EleutherAI/gpt-neox-20b"),
    ("falcon", "models/tiiuae/falcon-40b"),
];
/// The files of PRM800K's two phases.
const PHASES: [&str; 4] = [
    "prm800k/data/phase1_train.jsonl",
    "prm800k/data/phase1_test.jsonl",
    "prm800k/data/phase2_train.jsonl",
    "prm800k/data/phase2_test.jsonl",
];

impl LoopbackHub {
    /// Serves every `<owner>/<name>` below `root`, the files of the web that belong to them, and the tokenizers in a folder beside it.
    /// Returns how many datasets there are.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn serve_samples(&self, root: &Path) -> io::Result<usize> {
        let mut repositories = Repository::open_all(root)?;
        let count = repositories.len();
        if count > 0 {
            completed::complete(&mut repositories, root)?;
        }
        for (folder, id) in TOKENIZERS {
            let folder = root.join("../tokenizers").join(folder);
            if folder.is_dir() {
                self.publish(Repository::open(id, &folder)?);
            }
        }
        for repository in repositories {
            if let Some(converted) = repository.converted() {
                self.publish_as(CONVERTED, converted);
            }
            match repository.id.as_str() {
                LISTED => self.publish(self.serve_listed(&repository)),
                FORGED => {
                    self.serve_forged(&repository);
                    self.publish(repository);
                }
                _ => self.publish(repository),
            }
        }
        Ok(count)
    }

    /// Serves the files at their addresses, and returns the repository of their lists.
    fn serve_listed(&self, repository: &Repository) -> Repository {
        let mut lists: BTreeMap<String, String> = BTreeMap::new();
        for (path, entry) in &repository.files {
            let url = format!("{LISTED_PREFIX}{path}");
            let subset = path.split('/').next().unwrap_or("");
            for list in [format!("urls/{subset}.txt"), "urls.txt".to_owned()] {
                let list = lists.entry(list).or_default();
                list.push_str(&url);
                list.push('\n');
            }
            self.serve_web(&url, entry.clone());
        }
        Repository::from_entries(
            &repository.id,
            lists
                .into_iter()
                .map(|(path, list)| (path, in_memory(list.into_bytes())))
                .collect(),
        )
    }

    /// Serves the contents and the pointers. A phase that the samples lack has the content of one that they have.
    fn serve_forged(&self, repository: &Repository) {
        let mut files = repository.files.clone();
        let phase = PHASES.iter().find_map(|path| files.get(*path).cloned());
        for path in PHASES {
            if let (Some(phase), None) = (&phase, files.get(path)) {
                files.insert(path.to_owned(), phase.clone());
            }
        }
        for (path, entry) in files {
            let pointer = in_memory(entry.pointer().into_bytes());
            self.serve_web(&format!("{FORGED_RAW_PREFIX}{path}"), pointer);
            self.serve_web(&format!("{FORGED_PREFIX}{path}"), entry);
        }
    }
}

fn in_memory(bytes: Vec<u8>) -> RemoteEntry {
    RemoteEntry::new(Content::Memory(bytes.into())).expect("memory can be read")
}
