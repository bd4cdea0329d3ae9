//! Who types this, and on which machine: for the log of a database.

use rustix::process::getuid;
use std::fs;

/// The login name, also behind `sudo`; without a login what LOGNAME or USER says, else the user's name.
pub(super) fn login_name() -> String {
    // What getlogin() asks first on Linux: the user who logged in, whoever he has become since.
    let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let names = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let uid = getuid().as_raw();
    login
        .filter(|uid| *uid != u32::MAX)
        .and_then(|uid| user(&names, uid))
        .or_else(|| variable("LOGNAME"))
        .or_else(|| variable("USER"))
        .or_else(|| user(&names, uid))
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of this machine.
pub(super) fn machine() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The name of a user in the text of `/etc/passwd`.
fn user(names: &str, uid: u32) -> Option<String> {
    let fields = names.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut matching = fields.filter(|fields| fields.get(2).is_some_and(|text| text.parse() == Ok(uid)));
    matching.next().map(|fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let names = "root:x:0:0:root:/root:/bin/sh\nbroken\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(user(names, 1000).as_deref(), Some("ada"));
        assert_eq!(user(names, 0).as_deref(), Some("root"));
        assert_eq!(user(names, 5), None);
    }
}
