//! The check of an example: a row of the manifest is rendered and compared with what it must give.

use crate::render::{Content, Render};

use super::{Example, Kind};

/// What is wrong with an example: the key it concerns, what happened, and what to do.
pub(super) struct Mismatch {
    pub key: &'static str,
    pub message: String,
    pub hint: String,
}

/// Compares what the row gives with what the example says.
pub(super) fn check(example: &Example, kind: Kind, render: &Render) -> Option<Mismatch> {
    let wrong = |key, message: String, hint: &str| {
        Some(Mismatch {
            key,
            message,
            hint: hint.to_owned(),
        })
    };
    let expected: Vec<&str> = match (&example.text, &example.texts) {
        (Some(text), None) => vec![text],
        (None, Some(texts)) => texts.iter().map(String::as_str).collect(),
        (None, None) => {
            return wrong(
                "row",
                "the example does not say what its row must give".to_owned(),
                "write text = \"...\" under the row, or texts = [\"...\", \"...\"] where a row gives several documents",
            );
        }
        (Some(_), Some(_)) => {
            return wrong(
                "texts",
                "the example has both text and texts".to_owned(),
                "keep text for one document, texts for several",
            );
        }
    };
    let key = if example.text.is_some() {
        "text"
    } else {
        "texts"
    };
    let mut given = Vec::new();
    for document in render.render_all(example.row.clone()) {
        match document {
            Ok(content) => given.push(content),
            Err(fault) => {
                let there: Vec<&str> = example.row.keys().map(String::as_str).collect();
                return wrong(
                    "row",
                    format!("the example gives no document: {fault}"),
                    &format!(
                        "the row has the fields {}; mend it, or [render]",
                        there.join(", ")
                    ),
                );
            }
        }
    }
    if given.len() != expected.len() {
        return wrong(
            key,
            format!(
                "the example gives {} documents, not {}: {:?}",
                given.len(),
                expected.len(),
                given.iter().map(Content::to_text).collect::<Vec<_>>()
            ),
            "write texts = [...] with the text of each document, in order",
        );
    }
    for (number, (content, expected)) in given.iter().zip(&expected).enumerate() {
        let text = content.to_text();
        if text != *expected {
            let which = if given.len() > 1 {
                format!("document {}: ", number + 1)
            } else {
                String::new()
            };
            let common = text
                .chars()
                .zip(expected.chars())
                .take_while(|(a, b)| a == b)
                .count();
            return wrong(
                key,
                format!("{which}the example gives {text:?}, not {expected:?}"),
                &format!(
                    "they differ from character {} on; mend the text, or [render]",
                    common + 1
                ),
            );
        }
        let is_text = matches!(content, Content::Text(_));
        if is_text != (kind == Kind::Text) {
            let form = match content {
                Content::Text(_) => "plain text",
                Content::Chat(_) => "a dialogue",
                Content::Preference { .. } => "a preference",
                Content::Process { .. } => "a process",
            };
            return wrong(
                key,
                format!("the kind is {}, but the row gives {form}", kind.name()),
                "write the kind that [render] makes: text, chat, preference or process",
            );
        }
    }
    if let Some(trained) = &example.trained {
        let given: String = given
            .iter()
            .flat_map(Content::segments)
            .filter(|segment| segment.trained)
            .map(|segment| segment.text.into_owned())
            .collect();
        if given != *trained {
            return wrong(
                "trained",
                format!("the example trains {given:?}, not {trained:?}"),
                "write what carries loss: all of a text, the assistant's turns with the blank before each, the chosen answer, the steps before a wrong one",
            );
        }
    }
    None
}
