//! `andromeda profiles`: the rules and compositions that a recipe may list.

use serde_json::{Value, json};

use super::{print, print_json, table};
use crate::exit::Usage;
use crate::filter::FilterOptions;
use crate::filter::rules::{self, Composition, RULES, Rule};
use crate::written;

/// All of them, a line each.
pub(super) fn list(as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let rules: Vec<Value> = RULES.iter().map(rule_json).collect();
        let compositions: Vec<Value> = rules::compositions()
            .map(|of| composition_json(&of))
            .collect();
        return print_json(&json!({ "rules": rules, "compositions": compositions }));
    }
    let rows: Vec<Vec<String>> = RULES
        .iter()
        .map(|rule| {
            let does = if rule.edits { "edits" } else { "judges" };
            let cells = [rule.name, does, rule.about];
            cells.map(str::to_owned).to_vec()
        })
        .collect();
    print(table(&["rule", "", "what"], &rows))?;
    let rows: Vec<Vec<String>> = rules::compositions()
        .map(|of| vec![of.name.to_owned(), (of.rules)().rules.join(", ")])
        .collect();
    print(format!("\n{}", table(&["composition", "rules"], &rows)))?;
    print(
        "\nA recipe lists them: [profile.web] rules = [\"gopher@dclm\"]; `andromeda profiles show NAME` prints values and source.",
    )
}

/// One of them, with its values as a recipe would write them.
pub(super) fn show(name: &str, as_json: bool) -> anyhow::Result<()> {
    let composition = rules::compositions().find(|of| of.name == name);
    match (rules::rule(name), composition) {
        (Some(rule), _) if as_json => print_json(&rule_json(rule)),
        (Some(rule), _) => {
            print(format!(
                "{}, version {}\n{}\nsource: {}\n",
                rule.name, rule.version, rule.about, rule.source
            ))?;
            let options = json!({ rule.table: (rule.defaults)() });
            print(as_toml(options)?.trim_end())
        }
        (None, Some(of)) if as_json => print_json(&composition_json(&of)),
        (None, Some(of)) => {
            print(format!(
                "{}\n{}\nsource: {}\n",
                of.name, of.about, of.source
            ))?;
            print(as_toml(written_out(&of))?.trim_end())
        }
        (None, None) => {
            let hint = match written::nearest(name, rules::names()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "`andromeda profiles` lists them".to_owned(),
            };
            Err(Usage(format!("no rule or composition is called `{name}`: {hint}")).into())
        }
    }
}

fn rule_json(rule: &Rule) -> Value {
    json!({
        "name": rule.name, "version": rule.version, "about": rule.about, "source": rule.source, "edits": rule.edits,
        "table": rule.table, "values": (rule.defaults)(),
    })
}

fn composition_json(of: &Composition) -> Value {
    json!({ "name": of.name, "about": of.about, "source": of.source, "options": written_out(of) })
}

/// Options as a recipe would write them. TOML has no null: what is absent is left out.
fn as_toml(mut options: Value) -> Result<String, toml::ser::Error> {
    fn leave_out_nulls(value: &mut Value) {
        if let Value::Object(entries) = value {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(leave_out_nulls);
        }
    }
    leave_out_nulls(&mut options);
    toml::to_string(&options)
}

/// The options of a composition with every value of every rule, to be copied into a recipe and changed.
fn written_out(of: &Composition) -> Value {
    let options: FilterOptions = (of.rules)();
    let mut written = serde_json::to_value(&options).unwrap_or_default();
    if let Value::Object(tables) = &mut written {
        for rule in options.rules.iter().filter_map(|name| rules::rule(name)) {
            tables
                .entry(rule.table)
                .or_insert_with(|| (rule.defaults)());
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_and_composition_is_shown_as_options_that_a_recipe_may_have() {
        for rule in RULES {
            let text = as_toml(json!({ rule.table: (rule.defaults)() })).unwrap();
            toml::from_str::<FilterOptions>(&text).unwrap();
        }
        for of in rules::compositions() {
            let text = as_toml(written_out(&of)).unwrap();
            let read: FilterOptions = toml::from_str(&text).unwrap();
            assert_eq!(read.rules, (of.rules)().rules, "{}", of.name);
        }
    }
}
