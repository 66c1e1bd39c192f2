//! Whose a connection is: two users' modifications of one name are two.

use tokio::net::UnixStream;

use super::runs::is_label;

/// The user at the other end, as the kernel says: by name where this machine's own list has one, else by number. A directory service is
/// not asked, since it may take its time. Empty where the kernel does not say.
pub(super) fn of(stream: &UnixStream) -> String {
    let Ok(peer) = stream.peer_cred() else { return String::new() };
    let list = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    name(&list, peer.uid()).map_or_else(|| peer.uid().to_string(), str::to_owned)
}

/// `ada:x:1000:1000:Ada:/home/ada:/bin/sh`, one on a line.
fn name(list: &str, number: u32) -> Option<&str> {
    let mut users = list.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse::<u32>().ok()?))
    });
    users.find_map(|(name, of)| (of == number && is_label(name)).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_where_it_is_a_plain_one() {
        let list = "root:x:0:0:root:/root:/bin/sh\n# none\nada:x:1000:1000::/home/ada:/bin/sh\nä\"b:x:1001:1001::/:/\n";
        assert_eq!([0, 1000, 1001, 1002].map(|number| name(list, number)), [Some("root"), Some("ada"), None, None]);
    }

    #[tokio::test]
    async fn a_connection_is_this_users() {
        let (one, _other) = UnixStream::pair().unwrap();
        let number = nix::unistd::Uid::effective().to_string();
        let found = of(&one);
        let list = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
        assert_eq!(found, name(&list, number.parse().unwrap()).unwrap_or(&number));
    }
}
