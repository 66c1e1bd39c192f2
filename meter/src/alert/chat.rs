//! Bodies that Slack and Teams show.

use serde_json::{Value, json};

use super::message::Message;

/// For a Slack incoming webhook, see <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
pub(super) fn slack(message: &Message) -> Value {
    let text = escaped(&message.alert.text);
    let subject = escaped(&message.subject());
    let context = format!("{subject} on {}; `{}`", escaped(&message.sender.host), escaped(&message.next_step()));
    json!({
        // What notifications show.
        "text": format!("{subject}: {text}"),
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": format!("*{subject}*\n{text}") } },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": context }] },
        ],
    })
}

/// Slack's three control characters, see <https://docs.slack.dev/messaging/formatting-message-text>.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An adaptive card, as a Teams workflow ("when a webhook request is received") takes it.
pub(super) fn teams(message: &Message) -> Value {
    let crossing = message.alert.crossing.as_ref();
    let levels =
        crossing.map(|crossing| crossing.levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let facts = [
        ("Run", Some(message.sender.run.clone())),
        ("Host", Some(message.sender.host.clone())),
        ("Level", levels),
        ("At", Some(message.alert.at.format("%Y-%m-%d %H:%M:%S UTC").to_string())),
        ("Next", Some(message.next_step())),
    ];
    let facts: Vec<Value> =
        facts.into_iter().filter_map(|(title, value)| Some(json!({ "title": title, "value": value? }))).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    { "type": "TextBlock", "size": "medium", "weight": "bolder", "wrap": true, "text": message.subject() },
                    { "type": "TextBlock", "wrap": true, "text": message.alert.text },
                    { "type": "FactSet", "facts": facts },
                ],
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    #[test]
    fn slack_gets_text_that_it_does_not_take_for_commands() {
        let body = slack(&message("<!channel> & 60 %"));
        assert_eq!(body["text"], "modification demo: &lt;!channel&gt; &amp; 60 %");
        assert_eq!(body["blocks"][0]["text"]["text"], "*modification demo*\n&lt;!channel&gt; &amp; 60 %");
    }

    #[test]
    fn teams_gets_a_card() {
        let body = teams(&message("NEAR"));
        let card = &body["attachments"][0];
        assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
        assert_eq!(card["content"]["body"][1]["text"], "NEAR");
        assert_eq!(card["content"]["body"][2]["facts"][0], json!({ "title": "Run", "value": "r1" }));
    }
}
