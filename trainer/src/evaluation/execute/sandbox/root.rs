//! The files that a program sees: the interpreter with its libraries, which it cannot write to; a small folder in memory; three devices.

use std::ffi::OsString;
use std::fs;
use std::io::{Error, Result};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::calls;

/// Where the new root is put together, in a mount namespace of our own, and the only folder of it that can be written to.
const TEMPORARY: &str = "/tmp";

/// Files of the folder that can be written to.
const MOST_FILES: u32 = 1024;

const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

/// Where shared libraries are, on most machines, and the list of them.
const LIBRARIES: [&str; 8] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
];

/// Something of the machine's that the new root has, at the same path.
enum Shown {
    /// What is mounted there, with what may be done with it.
    Tree { tree: OwnedFd, folder: bool },
    /// A link.
    Link(PathBuf),
}

/// Makes a root of `paths` and of nothing else of the machine's, and goes there. `bytes` may be written to `/tmp`.
pub(super) fn enter(paths: &[PathBuf], bytes: u64) -> Result<()> {
    let readable = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let device = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    calls::make_mounts_private()?;
    let libraries = LIBRARIES.iter().map(Path::new);
    let wanted = libraries.chain(paths.iter().map(PathBuf::as_path));
    let mut shown: Vec<(PathBuf, Shown)> = Vec::new();
    for path in wanted {
        // What is below a folder that is shown is shown with it.
        let inside = |(other, what): &(PathBuf, Shown)| {
            matches!(what, Shown::Tree { .. }) && path.starts_with(other)
        };
        if !shown.iter().any(inside) && fs::symlink_metadata(path).is_ok() {
            shown.push((path.to_owned(), show(path, readable).map_err(at(path))?));
        }
    }
    let trees = shown
        .iter()
        .filter(|(_, what)| matches!(what, Shown::Tree { .. }));
    let sealed: Vec<PathBuf> = trees.map(|(path, _)| path.clone()).collect();
    for path in DEVICES.map(Path::new) {
        shown.push((path.to_owned(), show(path, device).map_err(at(path))?));
    }

    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    calls::mount_memory(Path::new(TEMPORARY), flags, "mode=755,size=1m,nr_inodes=1k")?;
    std::env::set_current_dir(TEMPORARY)?;
    for (path, what) in &shown {
        put(path, what).map_err(at(path))?;
    }
    let temporary = below(Path::new(TEMPORARY));
    fs::create_dir(&temporary)?;
    let options = format!("mode=1777,size={bytes},nr_inodes={MOST_FILES}");
    calls::mount_memory(&temporary, flags | libc::MS_NOEXEC, &options)?;
    calls::change_root()?;
    calls::set_attributes(None, Path::new("/"), readable)?;
    let made = shown.iter().map(|(path, _)| path.as_path());
    look(
        &sealed,
        &made
            .chain([Path::new(TEMPORARY)])
            .filter_map(top)
            .collect::<Vec<_>>(),
    )
}

fn at(path: &Path) -> impl FnOnce(Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::new(error.kind(), format!("{path}: {error}"))
}

/// The path in the root that is put together in the working folder.
fn below(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn show(path: &Path, attributes: u64) -> Result<Shown> {
    let of = fs::symlink_metadata(path)?;
    if of.is_symlink() {
        return Ok(Shown::Link(fs::read_link(path)?));
    }
    let tree = calls::copy_tree(path)?;
    calls::set_attributes(Some(&tree), Path::new(""), attributes)?;
    Ok(Shown::Tree {
        tree,
        folder: of.is_dir(),
    })
}

fn put(path: &Path, what: &Shown) -> Result<()> {
    let target = below(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match what {
        Shown::Link(to) => symlink(to, target),
        Shown::Tree { tree, folder } => {
            if *folder {
                fs::create_dir_all(&target)?;
            } else {
                fs::File::create(&target)?;
            }
            calls::attach(tree, &target)
        }
    }
}

/// The first name of a path.
fn top(path: &Path) -> Option<OsString> {
    below(path).iter().next().map(OsString::from)
}

/// Whether the root is the one that was made: nothing else is there, and nothing can be written to but the one folder.
fn look(sealed: &[PathBuf], made: &[OsString]) -> Result<()> {
    let wrong = |problem: String| Err(Error::other(problem));
    let readable = libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV;
    for path in sealed.iter().map(PathBuf::as_path).chain([Path::new("/")]) {
        let flags = calls::mount_flags(path)?;
        if flags & readable != readable {
            return wrong(format!(
                "{} could be written to ({flags:#x})",
                path.display()
            ));
        }
    }
    for entry in fs::read_dir("/")? {
        let name = entry?.file_name();
        if !made.contains(&name) {
            return wrong(format!("/{} can be seen", name.display()));
        }
    }
    if fs::File::create("/written").is_ok() {
        return wrong("/ can be written to".to_owned());
    }
    let mode = fs::metadata(TEMPORARY)?.permissions().mode();
    if mode & 0o7777 != 0o1777 || fs::read_dir(TEMPORARY)?.next().is_some() {
        return wrong(format!(
            "{TEMPORARY} is not the empty folder that it must be"
        ));
    }
    Ok(())
}
