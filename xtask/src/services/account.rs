//! The account that servers run under: PostgreSQL refuses root, and nothing here needs it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` unless this process runs as root.
    pub(crate) fn unprivileged() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(Self::choose(&passwd))
    }

    /// `postgres`, else `nobody`, else the number that `nobody` has by custom.
    fn choose(passwd: &str) -> Self {
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::find(passwd, name))
            .unwrap_or(Self {
                uid: 65534,
                gid: 65534,
            })
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            // A name that stands for root would defeat the purpose.
            (uid != 0).then_some(Self { uid, gid })
        })
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        // std also drops the supplementary groups of root.
        command.uid(self.uid).gid(self.gid);
    }

    pub(crate) fn own(&self, path: &Path) -> anyhow::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give {} away", path.display()))
    }

    /// Whether the account can get into `folder`: one closed parent, such as root's home, is enough to keep it out.
    pub(crate) fn can_enter(&self, folder: &Path) -> bool {
        let mut command = Command::new("sh");
        command
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(folder)
            .current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.apply(&mut command);
        command.status().is_ok_and(|status| status.success())
    }
}

/// A folder that only its owner reads.
pub(crate) fn create_private(folder: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)))
        .with_context(|| format!("cannot create {}", folder.display()))?;
    account.map_or(Ok(()), |account| account.own(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";

    #[test]
    fn postgres_is_preferred_to_nobody() {
        let passwd = format!("{PASSWD}postgres:x:101:104::/var/lib/postgresql:/bin/sh\n");
        assert_eq!(Account::choose(&passwd), Account { uid: 101, gid: 104 });
        assert_eq!(
            Account::choose(PASSWD),
            Account {
                uid: 65534,
                gid: 65533
            }
        );
    }

    #[test]
    fn an_odd_account_file_still_gives_nobody() {
        assert_eq!(Account::choose("").uid, 65534);
        assert_eq!(Account::choose("postgres:x:zero:0\nnobody:x\n").uid, 65534);
        assert_eq!(Account::choose("postgres:x:0:0::/:\n").uid, 65534);
    }
}
