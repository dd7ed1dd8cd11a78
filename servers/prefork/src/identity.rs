//! As whom workers run: the supervisor keeps its privileges, which it needs to listen, and workers give them up before they
//! run anything that is not ours.
//!
//! Names are looked up in /etc/passwd and /etc/group alone. Directories such as LDAP are reached through the C library's
//! name service, which loads code and starts threads as it likes, and a supervisor that forks has to know that it has one
//! thread: who is not in these files is given as a number.
//!
//! Of a process that has changed its user the system writes no core file, for there could be secrets in it.

use std::{fs, io};

use rustix::{
    process::{Gid, Uid, getegid, geteuid, getgid, getuid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};
use varvel_server_kit::settings::Settings;

/// A user and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `None`: as who started the program.
    pub(crate) user: Option<Uid>,
    pub(crate) group: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// Of the settings. `None` if they say nothing.
    ///
    /// # Errors
    /// If there is no such user or group.
    pub(crate) fn of(settings: &Settings) -> io::Result<Option<Self>> {
        let (user, group) = (settings.user.as_deref(), settings.group.as_deref());
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        Self::find(user, group, &fs::read_to_string("/etc/passwd")?, &fs::read_to_string("/etc/group")?)
            .map(Some)
            .map_err(io::Error::other)
    }

    fn find(user: Option<&str>, group: Option<&str>, passwd: &str, groups: &str) -> Result<Self, String> {
        let account = user.map(|user| Account::find(user, passwd)).transpose()?;
        let group = match (group, &account) {
            (Some(group), _) => group_number(group, groups)?,
            (None, Some(Account { group: Some(group), .. })) => *group,
            (None, _) => {
                let user = user.unwrap_or_default();
                return Err(format!(
                    "user {user} is not in /etc/passwd, so its group has to be given as well"
                ));
            }
        };
        let mut all = vec![group];
        if let Some(Account { name: Some(name), .. }) = &account {
            all.extend(groups_of(name, groups).filter(|other| *other != group));
        }
        let gid = |raw: &u32| Gid::from_raw(*raw);
        Ok(Self {
            user: account.map(|account| Uid::from_raw(account.user)),
            group: gid(&group),
            groups: all.iter().map(gid).collect(),
        })
    }

    /// Becomes this user, for good. The process must have one thread, for the system changes no other.
    ///
    /// # Errors
    /// If the system refuses, or would let the process become again what it was.
    pub(crate) fn assume(&self) -> io::Result<()> {
        let user = self.user.unwrap_or_else(getuid);
        if (getuid(), geteuid(), getgid(), getegid()) == (user, user, self.group, self.group)
            && !user.is_root()
        {
            return Ok(());
        }
        // In this order: who is not root any more may change no groups.
        set_thread_groups(&self.groups)?;
        set_thread_gid(self.group)?;
        if self.user.is_none() {
            return Ok(());
        }
        set_thread_uid(user)?;
        if !user.is_root() && (set_thread_uid(Uid::ROOT).is_ok() || regains_group(self.group)) {
            return Err(io::Error::other("the privileges that were given up can be regained"));
        }
        Ok(())
    }
}

fn regains_group(group: Gid) -> bool {
    !group.is_root() && set_thread_gid(Gid::ROOT).is_ok()
}

/// A line of /etc/passwd, or a number without one.
struct Account {
    name: Option<String>,
    user: u32,
    group: Option<u32>,
}

impl Account {
    fn find(user: &str, passwd: &str) -> Result<Self, String> {
        let number = user.parse().ok();
        let mut accounts = passwd.lines().filter_map(|line| match *line.split(':').collect::<Vec<_>>() {
            [name, _, user, group, ..] => Some((name, user.parse().ok()?, group.parse().ok()?)),
            _ => None,
        });
        let found = accounts.find(|(name, uid, _)| *name == user || number == Some(*uid));
        match (found, number) {
            (Some((name, user, group)), _) => {
                Ok(Self { name: Some(name.to_owned()), user, group: Some(group) })
            }
            (None, Some(user)) => Ok(Self { name: None, user, group: None }),
            (None, None) => Err(format!("there is no user {user} in /etc/passwd; write its number")),
        }
    }
}

fn group_number(group: &str, groups: &str) -> Result<u32, String> {
    let named = all_groups(groups).find(|(name, ..)| *name == group).map(|(_, number, _)| number);
    let unknown = || format!("there is no group {group} in /etc/group; write its number");
    named.or_else(|| group.parse().ok()).ok_or_else(unknown)
}

/// Those that this user is listed in.
fn groups_of<'a>(user: &'a str, groups: &'a str) -> impl Iterator<Item = u32> + 'a {
    let listed =
        all_groups(groups).filter(move |(.., members)| members.split(',').any(|member| member == user));
    listed.map(|(_, number, _)| number)
}

/// Name, number and members.
fn all_groups(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| match *line.split(':').collect::<Vec<_>>() {
        [name, _, number, members] => Some((name, number.parse().ok()?, members)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
# a comment: and more
www:x:33:44:web:/srv:/usr/sbin/nologin
broken
";
    const GROUP: &str = "root:x:0:\nweb:x:44:\ntls:x:50:adm,www\nwwwx:x:51:wwwx\nlogs:x:52:www\n";

    fn find(user: Option<&str>, group: Option<&str>) -> Result<(Option<u32>, u32, Vec<u32>), String> {
        let found = Identity::find(user, group, PASSWD, GROUP)?;
        let groups = found.groups.iter().map(|group| group.as_raw()).collect();
        Ok((found.user.map(|user| user.as_raw()), found.group.as_raw(), groups))
    }

    #[test]
    fn users_come_with_their_groups() {
        assert_eq!(find(Some("www"), None), Ok((Some(33), 44, vec![44, 50, 52])));
        assert_eq!(find(Some("33"), None), Ok((Some(33), 44, vec![44, 50, 52])));
        assert_eq!(find(Some("www"), Some("tls")), Ok((Some(33), 50, vec![50, 52])));
        assert_eq!(find(Some("1234"), Some("77")), Ok((Some(1234), 77, vec![77])));
        assert_eq!(find(None, Some("web")), Ok((None, 44, vec![44])));
    }

    #[test]
    fn who_is_unknown_is_told_apart() {
        let problem = |user, group| find(user, group).unwrap_err();
        assert!(problem(Some("nobody-else"), None).contains("there is no user nobody-else in /etc/passwd"));
        assert!(problem(Some("1234"), None).contains("its group has to be given as well"));
        assert!(problem(Some("www"), Some("none")).contains("there is no group none in /etc/group"));
    }
}
