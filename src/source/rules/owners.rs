//! Given rules, says what an owner that no filesystem can hold needs to be for them to replace it; never
//! changes a file.

use super::{IdMap, Rule};

/// What rules do to owners that a source may have and a filesystem cannot hold: those that are negative,
/// above the last id, or the id that stands for none.
#[derive(Clone, Debug, Default)]
pub struct OwnerRules {
    /// Whether one rule replaces every owner.
    all: bool,
    /// Whether the id that stands for none becomes another user.
    uid_of_none: bool,
    /// Whether it becomes another group.
    gid_of_none: bool,
}

impl OwnerRules {
    /// What `rules` do.
    pub fn of(rules: &[Rule]) -> Self {
        let maps_none = |map: &IdMap| map.found(u32::MAX).is_some();
        let mut owners = Self::default();
        for rule in rules {
            match rule {
                Rule::Owner { .. } => owners.all = true,
                Rule::UidMap(map) => owners.uid_of_none |= maps_none(map),
                Rule::GidMap(map) => owners.gid_of_none |= maps_none(map),
                _ => {}
            }
        }
        owners
    }

    /// The user in the place of `id`, if a rule then replaces it.
    pub fn uid(&self, id: i64) -> Option<u32> {
        self.in_place_of(id, self.uid_of_none)
    }

    /// The group in the place of `id`, if a rule then replaces it.
    pub fn gid(&self, id: i64) -> Option<u32> {
        self.in_place_of(id, self.gid_of_none)
    }

    fn in_place_of(&self, id: i64, maps_none: bool) -> Option<u32> {
        let none = (id == i64::from(u32::MAX) && maps_none).then_some(u32::MAX);
        none.or(self.all.then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_taken_if_a_rule_replaces_them() {
        let map = |range: &str| {
            let mut map = IdMap::default();
            map.add(range.parse().unwrap()).unwrap();
            map
        };
        let none = i64::from(u32::MAX);
        for (rules, uids, gids) in [
            (vec![], [None; 2], [None; 2]),
            (
                vec![Rule::Owner { uid: 1, gid: 2 }],
                [Some(0); 2],
                [Some(0); 2],
            ),
            (vec![Rule::UidMap(map("5:6:1"))], [None; 2], [None; 2]),
            (
                vec![Rule::UidMap(map("4294967295:6:1"))],
                [Some(u32::MAX), None],
                [None; 2],
            ),
            (
                vec![Rule::GidMap(map("4294967290:0:6"))],
                [None; 2],
                [Some(u32::MAX), None],
            ),
        ] {
            let owners = OwnerRules::of(&rules);
            assert_eq!([none, -1].map(|id| owners.uid(id)), uids, "{rules:?}");
            assert_eq!([none, -1].map(|id| owners.gid(id)), gids, "{rules:?}");
        }
    }
}
