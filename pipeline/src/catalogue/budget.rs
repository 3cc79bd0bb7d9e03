//! How many bytes of a dataset a build takes: one number, or one for each of its tiers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::Tier;

/// `budget-bytes` of a dataset manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetBytes {
    /// Whichever tier asks takes the same files, of this size at most.
    Whole(u64),
    /// Each tier takes files of its own: those beyond the budgets of the more important ones.
    PerTier(BTreeMap<Tier, u64>),
}

impl<'de> Deserialize<'de> for BudgetBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand, since serde's untagged enums can only say that nothing matched.
        deserializer.deserialize_any(NumberOrTable)
    }
}

struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = BudgetBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or one a tier such as { high = 1000000, medium = 1000000 }")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<BudgetBytes, E> {
        u64::try_from(number)
            .map(BudgetBytes::Whole)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<BudgetBytes, E> {
        Ok(BudgetBytes::Whole(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BudgetBytes, A::Error> {
        let mut tiers = BTreeMap::new();
        while let Some((tier, bytes)) = map.next_entry()? {
            tiers.insert(tier, bytes);
        }
        Ok(BudgetBytes::PerTier(tiers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Written {
        budget: BudgetBytes,
    }

    fn read(text: &str) -> Result<BudgetBytes, String> {
        toml::from_str::<Written>(text)
            .map(|written| written.budget)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_budget_is_a_number_or_one_a_tier() {
        assert_eq!(read("budget = 7"), Ok(BudgetBytes::Whole(7)));
        assert_eq!(
            read("budget = { medium = 2, high = 1 }"),
            Ok(BudgetBytes::PerTier(BTreeMap::from([
                (Tier::High, 1),
                (Tier::Medium, 2)
            ])))
        );
        for (wrong, word) in [
            ("budget = -7", "a number of bytes, or one a tier"),
            ("budget = \"7G\"", "a number of bytes, or one a tier"),
            ("budget = { hihg = 1 }", "unknown variant `hihg`"),
            ("budget = { high = \"x\" }", "u64"),
        ] {
            let message = read(wrong).unwrap_err();
            assert!(message.contains(word), "{wrong}: {message}");
        }
    }
}
