//! What the file may say.

use super::*;

fn parse(text: &str) -> Result<AlertConfig, String> {
    let environment = |name: &str| (name == "HOOK").then(|| "https://hooks.example.org/T0/secret\n".to_owned());
    AlertConfig::parse(text, Path::new("/etc/alerts.toml"), &environment).map_err(|problem| problem.to_string())
}

#[test]
fn every_kind_of_sink_is_read() {
    let config = parse(
        r#"
        at = ["near", "50%"]
        [[sink]]
        kind = "command"
        command = "logger"
        timeout-seconds = 3
        [[sink]]
        kind = "webhook"
        url = "https://ops.example.org/x"
        secret-env = "HOOK"
        [[sink]]
        kind = "slack"
        url-env = "HOOK"
        [[sink]]
        kind = "teams"
        url-env = "HOOK"
        [[sink]]
        kind = "mail"
        server = "smtp.example.org"
        user = "me"
        password-env = "HOOK"
        from = "meter@example.org"
        to = ["Ada <ada@example.org>"]
        "#,
    )
    .unwrap();
    assert_eq!(config.levels.as_ref().unwrap().to_string(), "near,50%");
    let names: Vec<String> = config.sinks.iter().map(Sink::name).collect();
    let expected = [
        "command",
        "webhook at https://ops.example.org",
        "slack at https://hooks.example.org",
        "teams at https://hooks.example.org",
        "mail by smtp.example.org",
    ];
    assert_eq!(names, expected);
    let Some(Sink::Mail(route)) = config.sinks.last() else { panic!("{config:?}") };
    assert_eq!((route.port, route.security), (587, Security::StartTls));
    assert!(!format!("{config:?}").contains("T0/secret"), "no secret is ever shown: {config:?}");
}

#[test]
fn an_empty_file_configures_nothing() {
    assert_eq!(parse("").unwrap(), AlertConfig::default());
}

#[test]
fn what_is_wrong_is_named_with_file_row_and_key() {
    let webhook = "[[sink]]\nkind = \"webhook\"\n";
    let mail = "[[sink]]\nkind = \"mail\"\nserver = \"s\"\nfrom = \"a@b.org\"\n";
    for (text, expected) in [
        ("at = 80", "/etc/alerts.toml: top level: `at` is no list of texts"),
        ("at = [\"80\"]", "top level: `at` is no list of levels: `80` is no level"),
        ("sinks = 1", "top level: `sinks` is no key of this row"),
        ("[sink]", "top level: `sink` is no list of tables; write [[sink]]"),
        ("[[sink]]", "sink 1 (?): `kind` is missing"),
        ("[[sink]]\nkind = \"pager\"", "sink 1 (pager): `kind` is none of command, webhook"),
        (webhook, "sink 1 (webhook): `url` is missing; write url, url-env"),
        (&format!("{webhook}url = \"x\""), "`url` is no address; write https://HOST/PATH"),
        (&format!("{webhook}url = \"http://h\"\nsecret = \"s\""), "`secret` is a secret; write secret-env"),
        (&format!("{webhook}url = \"http://h\"\nsecret-env = \"NONE\""), "`secret-env` names NONE, which is not set"),
        (&format!("{webhook}url = \"http://h\"\nsecret-file = \"none\""), "`secret-file` cannot be read: "),
        (&format!("{webhook}url = \"http://h\"\nmethod = \"PUT\""), "`method` is no key of this row"),
        (mail, "sink 1 (mail): `to` is missing; write a list of addresses"),
        (&format!("{mail}to = [\"ada\"]"), "`to` has `ada`, which is no mail address"),
        (&format!("{mail}to = [\"a@b.org\"]\nport = 0"), "`port` is no port"),
        (&format!("{mail}to = [\"a@b.org\"]\nuser = \"u\""), "`password-env` is missing beside `user`"),
        (
            &format!("{mail}to = [\"a@b.org\"]\nuser = \"u\"\npassword-env = \"HOOK\"\nsecurity = \"none\""),
            "`security` is none, so the password would be sent in the clear",
        ),
        ("[[sink]]\nkind = \"command\"\ncommand = \"x\"\ntimeout-seconds = 0", "is no number of seconds from 1 to 600"),
        ("at = [", "/etc/alerts.toml: this is no TOML: "),
        (
            &"[[sink]]\nkind = \"command\"\ncommand = \"x\"\n".repeat(17),
            "`sink` stands 17 times; 16 sinks are the most",
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.contains(expected), "{text}\n{problem}");
    }
}
