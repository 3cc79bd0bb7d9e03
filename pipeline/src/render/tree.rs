//! Trees of messages, as `OpenAssistant` publishes them: the dialogues on their paths, and the preferences among siblings.
//!
//! A message holds its replies; labellers ranked replies to one message, 0 the best. A message that was deleted or that review
//! turned down is not followed, nor what stands below it (the dataset's card; `LAION-AI/Open-Assistant`, `oasst_data`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::chat::{check_roles, dialogue, role_of};
use super::content::{Content, Role, Turn};
use super::field::Path;
use super::options::{Roles, Tree, TreePaths};
use super::{RenderError, RenderFault};
use crate::read::Row;

/// Messages below one another; a deeper tree is cut off there. Real ones have a dozen.
const MAX_DEPTH: usize = 200;

/// Which documents a tree gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    BestPath,
    AllPaths,
    Pairs,
}

/// A message that holds its replies.
#[derive(Debug, Clone)]
pub(super) struct TreeForm {
    root: Path,
    role: Path,
    text: Path,
    replies: Path,
    rank: Path,
    deleted: Path,
    reviewed: Path,
    roles: Roles,
    gives: Gives,
}

impl TreeForm {
    pub(super) fn paths(options: &Tree) -> Result<Self, RenderError> {
        let gives = match options.paths {
            TreePaths::Best => Gives::BestPath,
            TreePaths::All => Gives::AllPaths,
        };
        Self::new(options, gives)
    }

    pub(super) fn siblings(options: &Tree) -> Result<Self, RenderError> {
        if options.paths != TreePaths::Best {
            return Err(RenderError::Unused {
                key: "ranked-siblings.paths",
                with: "tree",
            });
        }
        Self::new(options, Gives::Pairs)
    }

    fn new(options: &Tree, gives: Gives) -> Result<Self, RenderError> {
        Ok(Self {
            root: Path::new("tree.root", &options.root)?,
            role: Path::new("tree.role", &options.role)?,
            text: Path::new("tree.text", &options.text)?,
            replies: Path::new("tree.replies", &options.replies)?,
            rank: Path::new("tree.rank", &options.rank)?,
            deleted: Path::new("tree.deleted", &options.deleted)?,
            reviewed: Path::new("tree.reviewed", &options.reviewed)?,
            roles: check_roles("tree.roles", &options.roles)?,
            gives,
        })
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        fields.insert(self.root.top().to_owned());
    }

    pub(super) fn render(&self, row: &mut Row) -> Vec<Result<Content, RenderFault>> {
        let root = match self.root.take(row) {
            Some(Value::Object(root)) => root,
            Some(_) => return vec![Err(self.root.wrong("a tree of objects"))],
            None => return vec![Err(self.root.missing())],
        };
        if !self.stands(&root) {
            return vec![Err(RenderFault::MarkedUnusable { mark: "deleted" })];
        }
        let mut given = Vec::new();
        let mut turns = Vec::new();
        let walked = match self.gives {
            Gives::BestPath => self.best(&root, &mut turns).map(|()| {
                given.push(dialogue(std::mem::take(&mut turns)));
            }),
            Gives::AllPaths => self.leaves(&root, &mut turns, &mut given),
            Gives::Pairs => self.pairs(&root, &mut turns, &mut given),
        };
        if let Err(fault) = walked {
            return vec![Err(fault)];
        }
        // Paths that end with a question, cut back to the last answer, may be one dialogue.
        let mut different: Vec<Result<Content, RenderFault>> = Vec::with_capacity(given.len());
        for one in given {
            if !different.contains(&one) {
                different.push(one);
            }
        }
        // A leaf that nobody answered is no fault of the tree's other paths.
        if different.iter().any(Result::is_ok) {
            different.retain(Result::is_ok);
        }
        different.truncate(different.len().max(1));
        if different.is_empty() {
            different.push(Err(RenderFault::BadPair {
                problem: "no two answers to one question are ranked",
                reason: "no-ranked-pair",
            }));
        }
        different
    }

    /// Follows the best reply of every message.
    fn best(&self, root: &Row, turns: &mut Vec<Turn>) -> Result<(), RenderFault> {
        let mut next = Some(root);
        while let Some(message) = next.filter(|_| turns.len() < MAX_DEPTH) {
            turns.push(self.turn(message)?);
            // Of equal ranks, and of those without, the first.
            next = self
                .replies(message)?
                .into_iter()
                .min_by_key(|reply| self.rank(reply).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// A dialogue for every message that nobody replied to.
    fn leaves(
        &self,
        message: &Row,
        turns: &mut Vec<Turn>,
        given: &mut Vec<Result<Content, RenderFault>>,
    ) -> Result<(), RenderFault> {
        turns.push(self.turn(message)?);
        let replies = self.replies(message)?;
        if replies.is_empty() || turns.len() >= MAX_DEPTH {
            given.push(dialogue(turns.clone()));
        } else {
            for reply in replies {
                self.leaves(reply, turns, given)?;
            }
        }
        turns.pop();
        Ok(())
    }

    /// For every question with ranked answers: the best against each that is ranked below it.
    fn pairs(
        &self,
        message: &Row,
        turns: &mut Vec<Turn>,
        given: &mut Vec<Result<Content, RenderFault>>,
    ) -> Result<(), RenderFault> {
        turns.push(self.turn(message)?);
        let replies = self.replies(message)?;
        let mut ranked: Vec<(i64, Turn)> = Vec::new();
        for reply in &replies {
            let turn = self.turn(reply)?;
            if let (Role::Assistant, Some(rank)) = (turn.role, self.rank(reply)) {
                ranked.push((rank, turn));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        if let Some(((best, chosen), others)) = ranked.split_first() {
            for (rank, rejected) in others {
                if rank > best && rejected.text.trim() != chosen.text.trim() {
                    given.push(self.pair(turns, chosen, rejected));
                }
            }
        }
        if turns.len() < MAX_DEPTH {
            for reply in replies {
                self.pairs(reply, turns, given)?;
            }
        }
        turns.pop();
        Ok(())
    }

    fn pair(
        &self,
        before: &[Turn],
        chosen: &Turn,
        rejected: &Turn,
    ) -> Result<Content, RenderFault> {
        let answered = |answer: &Turn| {
            let mut turns = before.to_vec();
            turns.push(answer.clone());
            dialogue(turns)
        };
        // Both go through what a dialogue goes through, so that they share all but the last answer.
        let (chosen, rejected) = (answered(chosen)?, answered(rejected)?);
        let split = |content: &Content| {
            let segments = content.segments();
            let (last, before) = segments.split_last()?;
            let prompt: String = before.iter().map(|segment| segment.text.as_ref()).collect();
            (last.trained && !before.is_empty()).then(|| (prompt, last.text.clone().into_owned()))
        };
        let turns = match &chosen {
            Content::Chat(turns) => turns[..turns.len().saturating_sub(1)].to_vec(),
            _ => Vec::new(),
        };
        match (split(&chosen), split(&rejected)) {
            (Some((prompt, chosen)), Some((other, rejected))) if prompt == other => {
                Ok(Content::Preference {
                    prompt,
                    turns,
                    chosen,
                    rejected,
                })
            }
            _ => Err(RenderFault::BadPair {
                problem: "an answer is empty, or nothing was asked",
                reason: "pair-without-answer",
            }),
        }
    }

    fn turn(&self, message: &Row) -> Result<Turn, RenderFault> {
        let text = |path: &Path| match path.get(message) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(path.wrong("a string")),
            None => Err(path.missing()),
        };
        Ok(Turn {
            role: role_of(&text(&self.role)?, &self.roles)?,
            text: text(&self.text)?,
        })
    }

    /// The replies that stand, in the order in which they are written.
    fn replies<'a>(&self, message: &'a Row) -> Result<Vec<&'a Row>, RenderFault> {
        let replies = match self.replies.get(message) {
            None => return Ok(Vec::new()),
            Some(Value::Array(replies)) => replies,
            Some(_) => return Err(self.replies.wrong("a list")),
        };
        let replies = replies.iter().map(|reply| match reply {
            Value::Object(reply) => Ok(reply),
            _ => Err(self.replies.wrong("a list of objects")),
        });
        let replies = replies.collect::<Result<Vec<_>, _>>()?;
        Ok(replies
            .into_iter()
            .filter(|reply| self.stands(reply))
            .collect())
    }

    fn stands(&self, message: &Row) -> bool {
        let says = |path: &Path, value| path.get(message).and_then(Value::as_bool) == Some(value);
        !says(&self.deleted, true) && !says(&self.reviewed, false)
    }

    fn rank(&self, message: &Row) -> Option<i64> {
        self.rank.get(message).and_then(Value::as_i64)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Render;
    use super::*;

    fn all(table: &str, row: &Value) -> Vec<Result<String, &'static str>> {
        let render = Render::new(&toml::from_str(table).unwrap()).unwrap();
        let given = render.render_all(row.as_object().unwrap().clone());
        given
            .into_iter()
            .map(|one| {
                one.map(|content| content.to_text().into_owned())
                    .map_err(|fault| fault.reason())
            })
            .collect()
    }

    fn said(role: &str, text: &str, rank: Option<i64>, replies: Vec<Value>) -> Value {
        json!({"role": role, "text": text, "rank": rank, "replies": replies, "deleted": false, "review_result": true})
    }

    fn tree() -> Value {
        let mut deleted = said("assistant", "gone", Some(0), vec![]);
        deleted["deleted"] = true.into();
        let mut refused = said("assistant", "turned down", Some(0), vec![]);
        refused["review_result"] = false.into();
        let follow = said(
            "prompter",
            "q2",
            None,
            vec![said("assistant", "a3", None, vec![])],
        );
        json!({"prompt": said("prompter", "q", None, vec![
            deleted,
            refused,
            said("assistant", "a2", Some(2), vec![]),
            said("assistant", "a1", Some(1), vec![follow, said("prompter", "unanswered", None, vec![])]),
            said("assistant", "a0", None, vec![]),
        ])})
    }

    #[test]
    fn the_best_path_follows_ranks() {
        assert_eq!(
            all("tree = {}", &tree()),
            [Ok(
                "\n\nHuman: q\n\nAssistant: a1\n\nHuman: q2\n\nAssistant: a3".to_owned()
            )]
        );
    }

    #[test]
    fn every_path_is_a_dialogue_once() {
        let q = "\n\nHuman: q\n\nAssistant:";
        assert_eq!(
            all("tree = { paths = \"all\" }", &tree()),
            [
                format!("{q} a2"),
                format!("{q} a1\n\nHuman: q2\n\nAssistant: a3"),
                format!("{q} a1"),
                format!("{q} a0"),
            ]
            .map(Ok)
        );
    }

    #[test]
    fn the_best_answer_is_preferred_to_those_ranked_below_it() {
        let render = Render::new(&toml::from_str("ranked-siblings = {}").unwrap()).unwrap();
        let given = render.render_all(tree().as_object().unwrap().clone());
        assert_eq!(
            given,
            [Ok(Content::Preference {
                prompt: "\n\nHuman: q\n\nAssistant:".to_owned(),
                turns: vec![Turn {
                    role: Role::User,
                    text: "q".to_owned(),
                }],
                chosen: " a1".to_owned(),
                rejected: " a2".to_owned(),
            })]
        );
        let equal = json!({"prompt": said("prompter", "q", None, vec![
            said("assistant", "a", Some(0), vec![]),
            said("assistant", "b", Some(0), vec![]),
            said("assistant", "c", None, vec![]),
        ])});
        assert_eq!(all("ranked-siblings = {}", &equal), [Err("no-ranked-pair")]);
    }

    #[test]
    fn odd_trees_are_faults() {
        for (row, reason) in [
            (json!({}), "missing-field"),
            (json!({"prompt": 5}), "wrong-type"),
            (
                json!({"prompt": {"role": "prompter", "text": "q", "replies": 3}}),
                "wrong-type",
            ),
            (
                json!({"prompt": {"role": "prompter", "text": "q", "replies": [3]}}),
                "wrong-type",
            ),
            (json!({"prompt": {"role": "cat", "text": "q"}}), "bad-turns"),
            (
                json!({"prompt": {"role": "prompter", "text": "q"}}),
                "bad-turns",
            ),
            (
                json!({"prompt": {"role": "prompter", "text": "q", "deleted": true}}),
                "marked-unusable",
            ),
        ] {
            for table in ["tree = {}", "tree = { paths = \"all\" }"] {
                assert_eq!(all(table, &row), [Err(reason)], "{table} {row}");
            }
        }
        let mut deep = said("assistant", "a", None, vec![]);
        for i in 0..90 {
            deep = said(["prompter", "assistant"][i % 2], "x", None, vec![deep]);
        }
        assert_eq!(
            all("tree = { paths = \"all\" }", &json!({ "prompt": deep })).len(),
            1
        );
    }
}
