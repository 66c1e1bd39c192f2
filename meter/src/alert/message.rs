//! What a sink is told of an alert.

use flopsmeter_core::ledger::Digest;
use flopsmeter_core::run::Alert;
use serde::Serialize;

/// Value of `schema` in every message.
pub const MESSAGE_SCHEMA: &str = "flopsmeter.alert/1";

/// Whose alerts these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Id of the run.
    pub run: String,
    /// Its modification.
    pub modification: Option<String>,
    /// Host name.
    pub host: String,
}

/// An alert on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The same at every attempt, and for every run that would say the same of the same modification.
    pub(super) id: String,
    pub(super) sender: Sender,
    pub(super) alert: Alert,
    /// The JSON that commands and webhooks get.
    pub(super) json: String,
}

#[derive(Serialize)]
struct Body<'a> {
    schema: &'static str,
    id: &'a str,
    run: &'a str,
    modification: Option<&'a str>,
    host: &'a str,
    alert: &'a Alert,
}

impl Message {
    pub(super) fn new(sender: &Sender, alert: &Alert) -> Self {
        let id = alert.crossing.as_ref().map_or_else(|| id_of(sender, alert), |crossing| crossing.id.clone());
        let modification = sender.modification.as_deref();
        let body = Body { schema: MESSAGE_SCHEMA, id: &id, run: &sender.run, modification, host: &sender.host, alert };
        // Plain values: they can always be written.
        let json = serde_json::to_string(&body).unwrap_or_default();
        Self { sender: sender.clone(), alert: alert.clone(), json, id }
    }

    /// Whom it is about.
    pub(super) fn subject(&self) -> String {
        match &self.sender.modification {
            Some(slug) => format!("modification {slug}"),
            None => format!("run {}", self.sender.run),
        }
    }

    /// What to do next.
    pub(super) fn next_step(&self) -> String {
        match &self.sender.modification {
            Some(slug) => format!("flopsmeter assess {slug}"),
            None => format!("flopsmeter runs show {}", self.sender.run),
        }
    }
}

/// For an alert that rests on no crossing.
fn id_of(sender: &Sender, alert: &Alert) -> String {
    let text = format!("{}\n{}\n{}", sender.run, alert.verdict, alert.text);
    Digest::of(text.as_bytes()).to_string().chars().take(32).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;

    use super::*;

    pub(in crate::alert) fn message(text: &str) -> Message {
        let sender = Sender { run: "r1".to_owned(), modification: Some("demo".to_owned()), host: "node-1".to_owned() };
        let alert =
            Alert { at: DateTime::UNIX_EPOCH, verdict: "near".to_owned(), text: text.to_owned(), crossing: None };
        Message::new(&sender, &alert)
    }

    #[test]
    fn the_same_alert_has_the_same_id() {
        assert_eq!(message("NEAR").id, message("NEAR").id);
        assert_ne!(message("NEAR").id, message("EXCEEDS").id);
        assert_eq!(message("NEAR").id.len(), 32);
        let json: serde_json::Value = serde_json::from_str(&message("NEAR").json).unwrap();
        assert_eq!((&json["schema"], &json["modification"]), (&MESSAGE_SCHEMA.into(), &"demo".into()));
        assert_eq!(json["alert"]["text"], "NEAR");
    }
}
