//! Alerts: when they are given, once, and where they go.

mod receiver;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::job::{Training, flop, hooked, plan, run_hooked, write_base, write_facts};
use crate::place::{Place, Running, codes, finish, until};
use receiver::Receiving;

const STEP: &str = "feed training 1 2 32 1";

/// A place with a base of which `steps` steps of the small model are the line.
pub(crate) fn place_with_line_of(steps: u128) -> Place {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    write_base(&place, "base", 3 * steps * flop(&plan(&place, Training::Lora, 1)["flops"]["training"]));
    place
}

/// Levels of the alerts of a run.
fn levels(place: &Place, summary: &str) -> Vec<Value> {
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path(summary)).unwrap()).unwrap();
    summary["alerts"].as_array().unwrap().iter().map(|alert| alert["crossing"]["levels"].clone()).collect()
}

#[test]
fn a_level_is_announced_once_for_all_runs_of_a_modification() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --modification demo --quiet --summary summary.json";
    let run = |script: &[&str]| {
        let outcome = run_hooked(&place, options, script);
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(0), ""));
        levels(&place, "summary.json")
    };
    let steps = |count: usize| format!("feed training 1 2 32 {count}");
    assert_eq!(run(&[&steps(6), "goodbye"]), [json!(["near"])]);
    assert_eq!(run(&[STEP, "goodbye"]), [] as [Value; 0]);
    assert_eq!(run(&[STEP, "goodbye"]), [json!(["80%"])]);
    assert_eq!(run(&[&steps(3), "goodbye"]), [json!(["100%"])]);
    assert_eq!(run(&[STEP, "goodbye"]), [] as [Value; 0]);
    assert_eq!(place.flopsmeter(&format!("verify {}", place.ledger().display())).code(), Some(0));
}

#[test]
fn levels_are_chosen_by_argument_or_environment() {
    let place = place_with_line_of(10);
    let script = ["feed training 1 2 32 2", "goodbye"];
    let outcome = run_hooked(&place, "--base base.toml --alert-at 15%,20% --quiet --summary summary.json", &script);
    assert_eq!(outcome.code(), Some(0));
    assert_eq!(levels(&place, "summary.json"), [json!(["15%", "20%"])]);

    let refused = place.run_script("--alert-at 15", "exit 7");
    assert!(refused.refusal(2).contains("`15` is no level: write near, or a whole percentage"), "{refused:?}");
    let mut command = place.script("", "exit 7");
    command.env("FLOPSMETER_ALERT_AT", "near,near");
    let started = finish(command);
    assert_eq!(started.code(), Some(7));
    assert!(started.stderr.contains("FLOPSMETER_ALERT_AT: `near` stands twice"), "{started:?}");
}

#[test]
fn near_four_fifths_and_the_line_reach_every_sink() {
    let place = place_with_line_of(10);
    let (webhook, slack, teams, mail) = (Receiving::http(), Receiving::http(), Receiving::http(), Receiving::smtp());
    let port = mail.address.split(':').nth(1).unwrap();
    place.write("secret", "s3cret\n");
    place.write(
        "alerts.toml",
        format!(
            r#"
            [[sink]]
            kind = "webhook"
            url = "http://{}/flopsmeter"
            secret-file = "secret"
            [[sink]]
            kind = "slack"
            url-env = "SLACK"
            [[sink]]
            kind = "teams"
            url-env = "TEAMS"
            [[sink]]
            kind = "mail"
            server = "127.0.0.1"
            port = {port}
            security = "none"
            from = "flopsmeter <meter@example.org>"
            to = ["ada@example.org"]
            "#,
            webhook.address
        ),
    );
    let options = "--base base.toml --modification demo --alerts alerts.toml --progress 300ms --summary summary.json";
    let mut command = hooked(&place, options);
    // A command line with spaces: not one of the words above.
    command.env("FLOPSMETER_ALERT_COMMAND", "cat >> told.jsonl; echo >> told.jsonl");
    command.env("SLACK", format!("http://{}/services/T0/B0/x", slack.address));
    command.env("TEAMS", format!("http://{}/workflow", teams.address));
    let mut running = Running::start(command);
    running.wait_for_stdout("ready");
    let mut ids = Vec::new();
    for (steps, level, word) in [(6, "near", "NEAR"), (2, "80%", "NEAR"), (3, "100%", "EXCEEDS")] {
        running.tell(&format!("feed training 1 2 32 {steps}"));
        let request = webhook.next();
        assert!(request.starts_with("POST /flopsmeter HTTP/1.1\r\n"), "{request}");
        assert!(receiver::is_signed(&request, "s3cret") && !receiver::is_signed(&request, "another"));
        let message = receiver::json(&request);
        assert_eq!((&message["schema"], &message["modification"]), (&json!("flopsmeter.alert/1"), &json!("demo")));
        assert_eq!(message["alert"]["crossing"]["levels"], json!([level]));
        assert!(message["alert"]["text"].as_str().unwrap().starts_with(word), "{message}");
        assert_eq!(receiver::header(&request, "flopsmeter-alert-id"), message["id"].as_str());
        ids.push(message["id"].clone());

        let request = slack.next();
        assert!(request.starts_with("POST /services/T0/B0/x HTTP/1.1\r\n"), "{request}");
        let text = receiver::json(&request)["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("modification demo: {word} the line of ")), "{text}");
        let card = receiver::json(&teams.next());
        let text = &card["attachments"][0]["content"]["body"][1]["text"];
        assert!(text.as_str().unwrap().starts_with(word), "{card}");
        let mail = mail.next();
        assert!(mail.contains("RCPT TO:<ada@example.org>\n"), "{mail}");
        assert!(
            mail.contains("Subject: flopsmeter: modification demo ") && mail.contains(&format!("({level})\n")),
            "{mail}"
        );
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let told = || fs_err::read_to_string(place.path("told.jsonl")).unwrap_or_default();
    until("the command was told three times", || told().lines().count() == 3);
    let told: Vec<Value> = told().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.iter().map(|message| message["id"].clone()).collect::<Vec<_>>(), ids);
    running.tell("goodbye");
    running.say("exit 5");
    assert_eq!(running.finish().code(), Some(5));
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap();
    assert_eq!(codes(&summary), Vec::<&str>::new());
    assert_eq!((webhook.rest(), mail.rest()), (Vec::<String>::new(), Vec::new()));
    // No secret is on record.
    let ledger = fs_err::read(place.ledger()).unwrap();
    for secret in ["s3cret", "services/T0"] {
        assert!(!ledger.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is in the ledger");
    }
}

#[test]
fn a_sink_that_fails_is_told_once_and_holds_up_nothing() {
    let place = place_with_line_of(10);
    // A port of which it is certain that nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sinks = format!(
        "[[sink]]\nkind = \"webhook\"\nurl = \"http://{free}/\"\n[[sink]]\nkind = \"command\"\ncommand = \"exit 9\"\n"
    );
    place.write("alerts.toml", sinks);
    let options = "--base base.toml --alerts alerts.toml --summary summary.json";
    let outcome = run_hooked(&place, options, &["feed training 1 2 32 6", "goodbye", "exit 7"]);
    assert_eq!(outcome.code(), Some(7));
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap();
    assert_eq!(codes(&summary), ["alert-not-delivered"; 2]);
    let talk = outcome.talk();
    let failures: Vec<&&str> = talk.iter().filter(|line| line.contains("did not reach sink")).collect();
    assert_eq!(failures.len(), 2, "{talk:?}");
    assert!(
        talk.iter().any(|line| line.contains("sink 2 (command): it ended with code 9; the ledger has the alert")),
        "{talk:?}"
    );
    assert_eq!(summary["alerts"].as_array().unwrap().len(), 1);
}

/// Neither a run that tells nobody nor a sink that is not there keeps others from hearing of it.
#[test]
fn a_level_is_said_to_each_sink_by_the_first_run_that_reaches_it() {
    let place = place_with_line_of(10);
    let webhook = Receiving::http();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sinks = |names: &[&str]| {
        let row = |name: &&str| format!("[[sink]]\nkind = \"webhook\"\nurl = \"http://{name}/\"\n");
        place.write("alerts.toml", names.iter().map(row).collect::<String>());
    };
    let run = |options: &str, script: &[&str]| {
        let options = format!("--base base.toml --modification demo --summary summary.json --quiet {options}");
        assert_eq!(run_hooked(&place, &options, script).code(), Some(0));
        let summary: Value =
            serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap();
        let findings = codes(&summary).into_iter().map(str::to_owned).collect::<Vec<_>>();
        (levels(&place, "summary.json"), findings)
    };
    let none = Vec::<String>::new();
    assert_eq!(run("", &["feed training 1 2 32 6", "goodbye"]), (vec![json!(["near"])], none.clone()));
    sinks(&[webhook.address.as_str(), &free.to_string()]);
    let missed = vec!["alert-not-delivered".to_owned()];
    // One more step: the level is not new, and these sinks have not heard of it.
    assert_eq!(run("--alerts alerts.toml", &[STEP, "goodbye"]), (vec![json!(["near"])], missed.clone()));
    let first = receiver::json(&webhook.next());
    // The sink that took it is not told again; the one that did not is.
    let again = run("--alerts alerts.toml", &["feed training 1 2 32 0", "goodbye"]);
    assert_eq!(again, (vec![json!(["near"])], missed));
    assert_eq!(webhook.rest(), Vec::<String>::new());
    // One more that has not heard of it takes it under the same id.
    let late = Receiving::http();
    sinks(&[webhook.address.as_str(), late.address.as_str()]);
    assert_eq!(run("--alerts alerts.toml", &["feed training 1 2 32 0", "goodbye"]).1, none);
    assert_eq!(receiver::json(&late.next())["id"], first["id"]);
    assert_eq!(run("--alerts alerts.toml", &["feed training 1 2 32 0", "goodbye"]), (Vec::new(), none));
    assert_eq!(webhook.rest(), Vec::<String>::new());
}

/// The first run takes it upon itself to say it, and is killed while the sink has not answered.
#[test]
fn what_a_killed_meter_did_not_deliver_the_next_run_delivers() {
    let place = place_with_line_of(10);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    place.write("alerts.toml", format!("[[sink]]\nkind = \"webhook\"\nurl = \"http://{address}/\"\n"));
    let options = "--base base.toml --modification demo --quiet --alerts alerts.toml --summary summary.json";
    let mut first = Running::start(hooked(&place, options));
    first.wait_for_stdout("ready");
    first.tell("feed training 1 2 32 6");
    let (stream, _) = silent.accept().unwrap();
    let unheard = receiver::json(&receiver::take(&stream));
    // While it is being metered nobody else says it.
    assert_eq!(run_hooked(&place, options, &[STEP, "goodbye"]).code(), Some(0));
    assert_eq!(levels(&place, "summary.json"), [] as [Value; 0]);
    kill(first.pid(), Signal::SIGKILL).unwrap();
    first.wait();
    drop(stream);
    let webhook = Receiving::http_at(silent);
    assert_eq!(run_hooked(&place, options, &["feed training 1 2 32 0", "goodbye"]).code(), Some(0));
    assert_eq!(levels(&place, "summary.json"), [json!(["near"])]);
    assert_eq!(receiver::json(&webhook.next())["id"], unheard["id"]);
    assert_eq!(run_hooked(&place, options, &["feed training 1 2 32 0", "goodbye"]).code(), Some(0));
    assert_eq!((levels(&place, "summary.json"), webhook.rest()), (Vec::new(), Vec::<String>::new()));
    assert_eq!(place.flopsmeter(&format!("verify {}", place.ledger().display())).code(), Some(0));
}

#[test]
fn a_configuration_that_cannot_be_understood_is_a_usage_error() {
    let place = Place::new();
    place.write("alerts.toml", "[[sink]]\nkind = \"slack\"\nurl = \"hooks.slack.com\"\n");
    let refused = place.run_script("--alerts alerts.toml", "exit 7");
    let expected = "alerts.toml: sink 1 (slack): `url` is no address; write https://HOST/PATH";
    assert!(refused.refusal(2).contains(expected), "{refused:?}");
    assert!(place.run_script("--alerts none.toml", "exit 7").refusal(2).contains("cannot be read: "));
}

/// What the environment says was said of every job of the machine.
#[test]
fn an_environment_that_cannot_be_understood_stops_no_job() {
    let place = Place::new();
    let mut command = place.script("", "exit 7");
    command.env("FLOPSMETER_ALERTS", "none.toml");
    let started = finish(command);
    assert_eq!(started.code(), Some(7));
    assert!(started.stderr.contains("the alert configuration cannot be read: "), "{started:?}");
    assert!(codes(&place.only_run()).contains(&"alerts-unreadable"));

    let place = Place::new();
    place.write("alerts.toml", "[[sink]]\nkind = \"slack\"\nurl-env = \"NO_SUCH_VARIABLE\"\n");
    assert_eq!(place.run_script("--alerts alerts.toml", "exit 7").code(), Some(7));
    assert!(codes(&place.only_run()).contains(&"alerts-unreadable"));
}

/// Air-gapped unless it is told otherwise: an alert alone opens nothing.
#[test]
fn nothing_goes_over_a_network_without_a_sink() {
    let place = place_with_line_of(10);
    let mut running = Running::start(hooked(&place, "--base base.toml"));
    running.wait_for_stdout("ready");
    running.tell("feed training 1 2 32 6");
    running.wait_for_stderr("***");
    let descriptors = fs_err::read_dir(format!("/proc/{}/fd", running.pid())).unwrap();
    let sockets: Vec<String> = descriptors
        .filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    assert!(!sockets.is_empty(), "the hooks' socket at least");
    for table in ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"] {
        let text = fs_err::read_to_string(table).unwrap_or_default();
        let inodes: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(9)).collect();
        assert!(!sockets.iter().any(|socket| inodes.contains(&socket.as_str())), "{table}");
    }
    running.tell("goodbye");
    running.say("exit 0");
    assert_eq!(running.finish().code(), Some(0));
}
