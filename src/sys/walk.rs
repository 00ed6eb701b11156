//! Goes along a path part by part, so that no link leads where nobody wanted: to the file that we write, or to one of a
//! target. Each part is opened by its name in the directory before it, without following it (O_PATH | O_NOFOLLOW,
//! open(2)), and then looked at: what was looked at is what is used, whoever changes names meanwhile.

use super::proc::Path;
use crate::table::head;
use core::ffi::CStr;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, fstatfs, openat, readlinkat_raw, statat, statx,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Parts that are gone along, those of links included: no path has as many, only links that lead to themselves.
const MAX_PARTS: u32 = 4096;
/// The type of a file system that is `/proc`, and of one in user space (linux/magic.h).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
/// How a file is opened that is only looked at.
pub const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Where a path ends.
pub struct Place {
    directory: OwnedFd,
    path: Path,
    /// Where in the path the name begins that is next.
    at: usize,
    /// What has the name, opened with [`LOOK`].
    pub there: Option<OwnedFd>,
    /// The name is one of the links of `/proc` to what is open, and what that is is `there`; else it is no link.
    pub is_magic: bool,
}

/// What the kernel knows of a file.
#[derive(Clone, Copy, Default)]
pub struct Known {
    /// Its number, and that of its file system.
    pub inode: u64,
    /// See above.
    pub device: u64,
    /// Its kind and its permissions (st_mode, inode(7)).
    pub mode: u32,
    /// A user id.
    pub owner: u32,
    /// The room that it takes, in blocks.
    pub blocks: u64,
}

/// What the kernel knows of the file at `path` in `directory`, of that itself where the path is empty; zeros where it says
/// nothing. Whoever serves the file is not asked: a file system in user space, or one on a host that is gone, may never
/// answer, and then nothing ends us (AT_STATX_DONT_SYNC, statx(2), Linux 4.11). An older kernel, or one whose filter does not
/// know that call, asks.
pub fn known(directory: BorrowedFd<'_>, path: &CStr) -> Known {
    let (quietly, wanted) = (AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
    match statx(directory, path, quietly, wanted) {
        Ok(stat) => Known {
            inode: stat.stx_ino,
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            mode: stat.stx_mode.into(),
            owner: stat.stx_uid,
            blocks: stat.stx_blocks,
        },
        Err(Errno::NOSYS | Errno::PERM) => {
            statat(directory, path, AtFlags::EMPTY_PATH).map_or(Known::default(), |stat| Known {
                inode: stat.st_ino,
                device: stat.st_dev,
                mode: stat.st_mode,
                owner: stat.st_uid,
                blocks: stat.st_blocks as u64,
            })
        }
        Err(_) => Known::default(),
    }
}

/// The kind of an open file, its permissions, and its owner.
pub fn seen(file: &OwnedFd) -> (FileType, u32, u32) {
    let Known { mode, owner, .. } = known(file.as_fd(), c"");
    (FileType::from_raw_mode(mode), mode & 0o7777, owner)
}

/// Whether it is on a file system in user space.
pub fn is_served(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|system| system.f_type == FUSE_SUPER_MAGIC)
}

/// Goes along `path`. Below a `root` no link is followed, and no `..` either. Else it begins where the kernel would, and
/// those are followed that do not stand where anybody may make one: in a directory that is sticky and can be written by
/// all, such as `/tmp`. (fs.protected_symlinks of proc_sys_fs(5) is the same, but for our own links and those of the
/// directory's owner.) Errors: LOOP for a link that is not followed, ACCESS for what another user has made in a directory
/// like `/tmp` (as fs.protected_regular), those of `open(2)`.
pub fn along(path: &[u8], root: Option<OwnedFd>) -> Result<Place, Errno> {
    let is_inside = root.is_some();
    let path = Path::from(path);
    let directory = root.map_or_else(|| start(&path), Ok)?;
    let mut place = Place { directory, path, at: 0, there: None, is_magic: false };
    place.go(is_inside)?;
    Ok(place)
}

/// Where a path begins: at our root, or in our working directory.
fn start(path: &Path) -> Result<OwnedFd, Errno> {
    let name = if path.bytes().first() == Some(&b'/') { c"/" } else { c"." };
    openat(CWD, name, LOOK | OFlags::DIRECTORY, Mode::empty())
}

impl Place {
    #[inline(never)] // so that there is one place where it is dropped
    fn go(&mut self, is_inside: bool) -> Result<(), Errno> {
        for _ in 0..MAX_PARTS {
            let behind = self.cut();
            if is_inside && self.name() == c".." {
                return Err(Errno::LOOP);
            }
            let file = match self.open(LOOK | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) if behind == 0 && !self.name().is_empty() => return Ok(()),
                file => self.there.insert(file?),
            };
            let (kind, _, owner) = seen(file);
            let shared = seen(&self.directory).1 & 0o1002 == 0o1002;
            if kind == FileType::Symlink {
                if is_inside || shared {
                    return Err(Errno::LOOP);
                }
                self.is_magic = fstatfs(&*file)?.f_type == PROC_SUPER_MAGIC;
                if !self.is_magic {
                    self.follow(behind)?;
                    continue;
                }
                self.there = Some(self.open(LOOK)?);
            }
            if behind == 0 {
                let foreign = shared && owner != geteuid().as_raw();
                return if foreign { Err(Errno::ACCESS) } else { Ok(()) };
            }
            if let Some(directory) = self.there.take() {
                self.directory = directory;
            }
            (self.at, self.is_magic) = (behind, false);
        }
        Err(Errno::LOOP)
    }

    /// The name in the directory.
    pub fn name(&self) -> &CStr {
        self.path.c_str_from(self.at)
    }

    /// Opens what has the name.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(&self.directory, self.name(), flags, Mode::empty())
    }

    /// The directory.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Ends the next name where it ends: where what is behind it begins, 0 if nothing is.
    fn cut(&mut self) -> usize {
        while self.path.bytes().get(self.at) == Some(&b'/') {
            self.at += 1;
        }
        let mut end = self.at;
        while let Some(&byte) = self.path.bytes().get(end) {
            if byte == b'/' {
                self.path.end_at(end);
                return end + 1;
            }
            end += 1;
        }
        0
    }

    /// Goes on where the link that is there leads, and from where it leads to what is behind it.
    #[inline(never)] // for its frame
    fn follow(&mut self, behind: usize) -> Result<(), Errno> {
        let mut target = [0; 4096];
        let Some(link) = self.there.take() else { return Ok(()) };
        let len = readlinkat_raw(&link, c"", &mut target[..])?;
        let rest = self.path.bytes().get(behind..).unwrap_or_default();
        let (slash, rest): (&[u8], &[u8]) = if behind == 0 { (b"", b"") } else { (b"/", rest) };
        let path = Path::of(&[head(&target, len), slash, rest]);
        if path.bytes().len() != len + slash.len() + rest.len() {
            return Err(Errno::NAMETOOLONG);
        }
        if path.bytes().first() == Some(&b'/') {
            self.directory = start(&path)?;
        }
        (self.path, self.at) = (path, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::string::String;
    use std::{format, fs};

    /// Where `path` leads: the real path of the directory and the name in it, and whether something is there.
    fn leads(path: &std::path::Path) -> Result<(String, bool), Errno> {
        use rustix::fd::AsRawFd as _;
        let place = along(path.as_os_str().as_encoded_bytes(), None)?;
        let directory = fs::read_link(format!("/proc/self/fd/{}", place.directory().as_raw_fd())).unwrap();
        let name = String::from_utf8(place.name().to_bytes().to_vec()).unwrap();
        Ok((format!("{}/{name}", directory.display()), place.there.is_some()))
    }

    /// Whether the root is the root: qemu's emulation of user programs opens another one, in which other things are.
    fn is_root_there() -> bool {
        let folder = std::env::temp_dir();
        let there = along(folder.as_os_str().as_encoded_bytes(), None).ok().and_then(|place| place.there);
        let inode = |file: OwnedFd| known(file.as_fd(), c"").inode;
        let is_there = there.map(inode) == Some(fs::metadata(folder).unwrap().ino());
        if !is_there {
            std::eprintln!("skipped: the root that is opened is not that of paths");
        }
        is_there
    }

    #[test]
    fn paths_lead_where_the_kernel_says() {
        let folder = Folder::new("walk");
        if !is_root_there() {
            return;
        }
        fs::create_dir_all(folder.path("a/b")).unwrap();
        fs::write(folder.path("a/b/file"), "").unwrap();
        for (link, target) in [
            ("file", "a/b/file"),
            ("up", "../../a/b/new"),
            ("chain", "dir/up"),
            ("dir", "a//b/"),
            ("loop", "loop"),
            ("round", "./again"),
            ("again", "round"),
        ] {
            let at = if link == "up" { "a/b/up" } else { link };
            symlink(target, folder.path(at)).unwrap();
        }
        symlink(folder.path("a"), folder.path("absolute")).unwrap();
        let root = folder.path("");
        let leads = |path| leads(&folder.path(path));
        let at = |path, there| Ok((format!("{}{path}", root.display()), there));
        assert_eq!(leads("a/b/file"), at("a/b/file", true));
        assert_eq!(leads("a/./b/..//b/new"), at("a/b/new", false));
        assert_eq!(leads("file"), at("a/b/file", true));
        assert_eq!(leads("absolute/b/file"), at("a/b/file", true));
        assert_eq!(leads("dir/new"), at("a/b/new", false));
        assert_eq!(leads("chain"), at("a/b/new", false));
        assert_eq!(leads("a/b/file/x").err(), Some(Errno::NOTDIR));
        assert_eq!(leads("none/new").err(), Some(Errno::NOENT));
        assert_eq!(leads("loop").err(), Some(Errno::LOOP));
        assert_eq!(leads("round/x").err(), Some(Errno::LOOP));
        assert_eq!(along(b"", None).err(), Some(Errno::NOENT));
        let here = along(b"Cargo.toml", None).unwrap();
        assert!(here.there.is_some() && !here.is_magic);
    }

    #[test]
    fn no_link_of_a_shared_directory_is_followed_wherever_it_stands_in_the_path() {
        let folder = Folder::new("shared");
        if !is_root_there() {
            return;
        }
        for name in ["shared", "own"] {
            fs::create_dir(folder.path(name)).unwrap();
        }
        fs::write(folder.path("own/file"), "").unwrap();
        symlink("../own", folder.path("shared/dir")).unwrap();
        symlink("../own/file", folder.path("shared/file")).unwrap();
        symlink("../own/none", folder.path("shared/none")).unwrap();
        symlink("shared/file", folder.path("indirect")).unwrap();
        let paths = ["shared/dir/file", "shared/file", "shared/none", "indirect", "own/../shared/file"];
        for mode in [0o777, 0o1755, 0o1775] {
            fs::set_permissions(folder.path("shared"), fs::Permissions::from_mode(mode)).unwrap();
            assert!(paths.iter().all(|path| leads(&folder.path(path)).is_ok()), "{mode:o}");
        }
        fs::set_permissions(folder.path("shared"), fs::Permissions::from_mode(0o1777)).unwrap();
        for path in paths {
            assert_eq!(leads(&folder.path(path)), Err(Errno::LOOP), "{path}");
        }
        fs::write(folder.path("shared/mine"), "").unwrap();
        assert!(leads(&folder.path("shared/mine")).is_ok());
        assert!(leads(&folder.path("shared/new")).is_ok());
        if std::os::unix::fs::chown(folder.path("shared/mine"), Some(12), None).is_ok() {
            assert_eq!(leads(&folder.path("shared/mine")), Err(Errno::ACCESS));
        }
    }

    #[test]
    fn without_links_there_is_no_way_out() {
        let folder = Folder::new("inside");
        fs::create_dir_all(folder.path("root/lib")).unwrap();
        fs::write(folder.path("root/lib/file"), "").unwrap();
        symlink("lib", folder.path("root/link")).unwrap();
        symlink("/etc/passwd", folder.path("root/passwd")).unwrap();
        let inside = |path: &str| {
            let root =
                rustix::fs::open(folder.path("root").to_str().unwrap(), OFlags::PATH, Mode::empty()).unwrap();
            along(path.as_bytes(), Some(root)).map(|place| place.there.is_some())
        };
        assert_eq!(inside("/lib/file"), Ok(true));
        assert_eq!(inside("//lib/./file"), Ok(true));
        assert_eq!(inside("lib/none"), Ok(false));
        for path in ["link/file", "passwd", "/passwd", "../../etc/passwd", "lib/../lib/file"] {
            assert_eq!(inside(path), Err(Errno::LOOP), "{path}");
        }
    }

    #[test]
    fn what_is_too_long_is_nowhere() {
        let folder = Folder::new("long");
        if !is_root_there() {
            return;
        }
        let long = "x/".repeat(1900);
        symlink(&long, folder.path("link")).unwrap();
        let path = format!("{}/{}", folder.path("link").display(), "y/".repeat(200));
        assert_eq!(along(path.as_bytes(), None).err(), Some(Errno::NAMETOOLONG));
    }
}
