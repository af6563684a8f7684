//! A disk that hangs: a file system of its own in a file, mounted where a server keeps its data, and frozen at will.
//!
//! While it is frozen, whoever writes to it waits in the kernel and cannot even be killed, as with a dead network disk
//! (fsfreeze(8), Linux). Mounting takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Error;

/// How large the file system is: sparse, so that it costs what is written.
const BYTES: u64 = 1 << 30;

/// Such a disk. Unmounted when dropped, which whoever writes to it must have left before.
#[derive(Debug)]
pub struct FrozenDisk {
    at: PathBuf,
}

impl FrozenDisk {
    /// Mounts one at `at`, a folder that is made, with its file beside. `None` where that is not possible.
    pub fn mount(at: &Path) -> Result<Option<Self>, Error> {
        let image = at.with_extension("image");
        fs::File::create(&image)?.set_len(BYTES)?;
        fs::create_dir_all(at)?;
        let mounted = done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
            && done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at));
        Ok(mounted.then(|| Self { at: at.to_owned() }))
    }

    /// Freezes it for so long. The thaw is the shell's, which ends with neither this process nor its terminal.
    pub fn freeze(&self, time: Duration) -> Result<(), Error> {
        let script = r#"trap '' INT TERM HUP; fsfreeze -f "$0" && sleep "$1"; fsfreeze -u "$0""#;
        let seconds = time.as_secs_f64().to_string();
        if done(Command::new("sh").args(["-c", script]).arg(&self.at).arg(seconds)) {
            Ok(())
        } else {
            Err("fsfreeze failed".into())
        }
    }
}

impl Drop for FrozenDisk {
    fn drop(&mut self) {
        let _ = done(Command::new("umount").arg(&self.at));
    }
}

fn done(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
