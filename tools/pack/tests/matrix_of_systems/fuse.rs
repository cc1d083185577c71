//! A file system in user space over a folder, which behaves as odd network file systems do.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::process::{Signal, set_parent_process_death_signal};

/// How long a slow file system takes for a read.
const SLOW: Duration = Duration::from_millis(2);
/// Nothing is kept: other processes may change the folder.
const TTL: Duration = Duration::ZERO;

/// Serves `source` at `mount` until it is unmounted. `fault` says what it does otherwise than others.
pub(crate) fn serve(source: &Path, mount: &Path, fault: &str) -> ExitCode {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let served = Served {
        fault: fault.into(),
        paths: Mutex::new(vec![source.into()]),
        files: Mutex::default(),
        next_handle: AtomicU64::new(1),
    };
    let mut config = fuser::Config::default();
    // A slow one answers several reads at a time.
    config.n_threads = Some(8);
    config.acl = fuser::SessionACL::All;
    match fuser::mount(served, mount, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Served {
    fault: String,
    /// The path of node 1, 2, ...
    paths: Mutex<Vec<PathBuf>>,
    files: Mutex<HashMap<u64, std::sync::Arc<File>>>,
    next_handle: AtomicU64,
}

impl Served {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn path(&self, node: INodeNo) -> PathBuf {
        self.paths.lock().unwrap()[usize::try_from(node.0 - 1).unwrap()].clone()
    }

    fn node(&self, path: &Path) -> u64 {
        let mut paths = self.paths.lock().unwrap();
        let known = paths.iter().position(|known| known == path);
        let index = known.unwrap_or_else(|| {
            paths.push(path.into());
            paths.len() - 1
        });
        index as u64 + 1
    }

    /// The node at `from` is at `to` from now on, if it is known; another that was there is gone.
    fn moved(&self, from: &Path, to: Option<&Path>) {
        let mut paths = self.paths.lock().unwrap();
        for path in paths.iter_mut() {
            if Some(path.as_path()) == to {
                path.clear();
            } else if path == from {
                *path = to.map(PathBuf::from).unwrap_or_default();
            }
        }
    }

    fn attributes(&self, path: &Path) -> io::Result<FileAttr> {
        let found = fs::symlink_metadata(path)?;
        Ok(FileAttr {
            ino: INodeNo(self.node(path)),
            size: found.len(),
            blocks: found.blocks(),
            atime: SystemTime::UNIX_EPOCH,
            mtime: found.modified()?,
            ctime: found.modified()?,
            crtime: SystemTime::UNIX_EPOCH,
            kind: FileType::from_std(found.file_type()).unwrap_or(FileType::RegularFile),
            perm: u16::try_from(found.mode() & 0o7777).unwrap_or(0o644),
            nlink: u32::try_from(found.nlink()).unwrap_or(1),
            uid: found.uid(),
            gid: found.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn keep(&self, file: File) -> FileHandle {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.files.lock().unwrap().insert(handle, file.into());
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<std::sync::Arc<File>> {
        let file = self.files.lock().unwrap().get(&handle.0).cloned();
        file.ok_or(io::Error::from_raw_os_error(libc::EBADF))
    }

    fn writable(&self) -> io::Result<()> {
        if self.is("read-only") {
            return Err(io::Error::from_raw_os_error(libc::EROFS));
        }
        Ok(())
    }

    fn open_file(&self, path: &Path, flags: i32) -> io::Result<File> {
        let direct = flags & libc::O_DIRECT != 0;
        if direct && self.is("direct-open-einval") {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        if writes {
            self.writable()?;
        }
        let truncates = flags & libc::O_TRUNC != 0;
        OpenOptions::new()
            .read(true)
            .write(writes)
            .truncate(writes && truncates)
            .open(path)
    }

    fn read_file(
        &self,
        handle: FileHandle,
        offset: u64,
        size: u32,
        flags: i32,
    ) -> io::Result<Vec<u8>> {
        let direct = flags & libc::O_DIRECT != 0;
        if direct && self.is("direct-read-einval") {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        if direct && self.is("direct-read-eio") {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if self.is("slow") {
            thread::sleep(SLOW);
        }
        let mut bytes = vec![0; size as usize];
        let file = self.file(handle)?;
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => break,
                some => done += some,
            }
        }
        bytes.truncate(done);
        if direct && self.is("direct-read-short") {
            bytes.truncate(4_096);
        }
        Ok(bytes)
    }
}

/// Answers by one way of a reply or the other.
macro_rules! answer {
    ($reply:ident, $result:expr, |$value:pat_param| $good:expr) => {
        match $result {
            Ok($value) => $good,
            Err(error) => $reply.error(Errno::from(io::Error::from(error))),
        }
    };
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if !self.is("no-async-direct") {
            let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        }
        if self.is("no-locks") {
            // The kernel then asks for every lock, and has the default answer: there is none.
            let _ =
                config.add_capabilities(InitFlags::FUSE_FLOCK_LOCKS | InitFlags::FUSE_POSIX_LOCKS);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.attributes(&self.path(parent).join(name));
        answer!(reply, found, |found| reply.entry(
            &TTL,
            &found,
            Generation(0)
        ));
    }

    fn getattr(&self, _: &Request, node: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        // A file that was removed while it is open has no path any more.
        let path = self.path(node);
        let found = match handle.map(|handle| self.file(handle)) {
            Some(Ok(file)) if !path.exists() => file.metadata().map(|data| FileAttr {
                size: data.len(),
                nlink: 0,
                ..self.attributes(&self.path(INodeNo::ROOT)).unwrap()
            }),
            _ => self.attributes(&path),
        };
        answer!(reply, found, |found| reply.attr(&TTL, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let path = self.path(node);
        let set = self.writable().and_then(|()| match size {
            Some(size) => OpenOptions::new().write(true).open(&path)?.set_len(size),
            None => Ok(()),
        });
        let found = set.and_then(|()| self.attributes(&path));
        answer!(reply, found, |found| reply.attr(&TTL, &found));
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let path = self.path(parent).join(name);
        let made = self
            .writable()
            .and_then(|()| DirBuilder::new().mode(mode).create(&path));
        let found = made.and_then(|()| self.attributes(&path));
        answer!(reply, found, |found| reply.entry(
            &TTL,
            &found,
            Generation(0)
        ));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.path(parent).join(name);
        let removed = self.writable().and_then(|()| fs::remove_file(&path));
        self.moved(&path, None);
        answer!(reply, removed, |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.path(parent).join(name);
        let removed = self.writable().and_then(|()| fs::remove_dir(&path));
        answer!(reply, removed, |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (
            self.path(parent).join(name),
            self.path(new_parent).join(new_name),
        );
        let renamed = self.writable().and_then(|()| fs::rename(&from, &to));
        if renamed.is_ok() {
            self.moved(&from, Some(&to));
        }
        answer!(reply, renamed, |()| reply.ok());
    }

    fn open(&self, _: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = self.open_file(&self.path(node), flags.0);
        // Otherwise the kernel takes a short read for the end of the file, and keeps that in mind.
        let short = self.is("direct-read-short") && flags.0 & libc::O_DIRECT != 0;
        let kind = if short {
            FopenFlags::FOPEN_DIRECT_IO
        } else {
            FopenFlags::empty()
        };
        answer!(reply, opened, |file| reply.opened(self.keep(file), kind));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let path = self.path(parent).join(name);
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode);
        let made = self.writable().and_then(|()| options.open(&path));
        let made = made.and_then(|file| Ok((file, self.attributes(&path)?)));
        answer!(reply, made, |(file, found)| {
            reply.created(
                &TTL,
                &found,
                Generation(0),
                self.keep(file),
                FopenFlags::empty(),
            )
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.read_file(handle, offset, size, flags.0);
        answer!(reply, read, |bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let full = self
            .is("full")
            .then(|| io::Error::from_raw_os_error(libc::ENOSPC));
        let file = full.map_or_else(|| self.file(handle), Err);
        let written = file.and_then(|file| file.write_all_at(data, offset));
        answer!(reply, written, |()| reply
            .written(u32::try_from(data.len()).unwrap()));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.lock().unwrap().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.fault.as_str() {
            "folder-sync-einval" => reply.error(Errno::EINVAL),
            "folder-sync-enotsup" => reply.error(Errno::EOPNOTSUPP),
            _ => reply.ok(),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let list = || -> io::Result<Vec<(PathBuf, FileType)>> {
            let entries = fs::read_dir(self.path(node))?.map(|entry| {
                let entry = entry?;
                let kind = FileType::from_std(entry.file_type()?);
                Ok((entry.path(), kind.unwrap_or(FileType::RegularFile)))
            });
            entries.collect()
        };
        answer!(reply, list(), |list| {
            for (index, (path, kind)) in (1..).zip(list).skip(usize::try_from(offset).unwrap()) {
                let node = INodeNo(self.node(&path));
                if reply.add(node, index, kind, path.file_name().unwrap_or_default()) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        match self.fault.as_str() {
            "fallocate-einval" => reply.error(Errno::EINVAL),
            "fallocate-eperm" => reply.error(Errno::EPERM),
            _ => reply.error(Errno::EOPNOTSUPP),
        }
    }
}
