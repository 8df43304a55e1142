//! What each direction of each link does to packets.

use super::resolve::{Placed, Problems};
use super::{Conditioned, Conditions, Direction, Graph, Link, Place, Wire};
use crate::closest;

impl Graph {
    /// The links that do something to packets; what is wrong with what they do goes to `problems`.
    pub(super) fn conditioned(&self, placed: &[Option<Placed>], problems: &mut Problems) -> Vec<Conditioned> {
        // Of each link the directions that say more about it.
        let mut said: Vec<[Option<usize>; 2]> = vec![[None; 2]; self.links.len()];
        for (number, direction) in self.directions.iter().enumerate() {
            let (link, side) = match self.link_of(direction) {
                Ok(found) => found,
                Err((side, message)) => {
                    let place =
                        side.map_or(Place::Direction(number), |side| Place::DirectionEnd(number, side));
                    problems.add(place, message);
                    continue;
                }
            };
            if said[link][side].replace(number).is_some() {
                let message = format!("`{direction}` is written twice: write all of it in one");
                problems.add(Place::Direction(number), message);
            }
        }
        let mut conditioned = Vec::new();
        for (number, (link, placed)) in self.links.iter().zip(placed).enumerate() {
            let sides = said[number].map(|said| said.map(|index| &self.directions[index].conditions));
            let conditions = sides.map(|side| match side {
                Some(more) => link.conditions.clone().with(more),
                None => link.conditions.clone(),
            });
            let before = problems.count();
            self.check_sides(number, &said[number], &conditions, problems);
            let says_something = link.wire.is_some() || conditions.iter().any(|side| !side.are_none());
            let Some(placed) = placed.as_ref().filter(|_| says_something) else { continue };
            if placed.interfaces == [None, None] {
                let message = format!(
                    "`{link}` joins two switches to one, and does nothing to packets: write it to the nodes' links"
                );
                problems.add(Place::Link(number), message);
            } else if problems.count() == before {
                let to_switch = placed.interfaces.contains(&None);
                self.check_wire(number, link, to_switch, &conditions, problems);
            }
            conditioned.push(Conditioned {
                ends: placed.interfaces,
                conditions,
                wire: link.wire.or(self.wire),
                is_own: link.wire.is_some(),
            });
        }
        conditioned
    }

    /// The link that a direction is one of, and which of its ends (0 or 1) sends; or at which end the direction is wrong.
    fn link_of(&self, direction: &Direction) -> Result<(usize, usize), (Option<usize>, String)> {
        let [from, to] = &direction.ends;
        for (side, end) in direction.ends.iter().enumerate() {
            if self.members.iter().all(|member| member.name != end.member) {
                let names = self.members.iter().map(|member| member.name.as_str());
                let message = match closest(&end.member, names) {
                    Some(near) => format!("there is no `{}`: did you mean `{near}`?", end.member),
                    None => {
                        format!("there is no `{}`: declare it as a node, a router or a switch", end.member)
                    }
                };
                return Err((Some(side), message));
            }
        }
        let is_end = |end: &super::End, of: &super::End| {
            end.member == of.member && (end.interface.is_none() || end.interface == of.interface)
        };
        let mut found = self.links.iter().enumerate().flat_map(|(number, link)| {
            let [left, right] = &link.ends;
            let forth = (is_end(from, left) && is_end(to, right)).then_some((number, 0));
            let back = (is_end(from, right) && is_end(to, left)).then_some((number, 1));
            forth.into_iter().chain(back)
        });
        let Some(first) = found.next() else {
            let message =
                format!("there is no link `{from} -- {to}` that this is a direction of: declare it, too");
            return Err((None, message));
        };
        if found.next().is_some() {
            let message = format!(
                "`{direction}` may be a direction of several links: name an interface, as in `{}.eth0 -> {}`, in the link, too",
                from.member, to.member
            );
            return Err((None, message));
        }
        Ok(first)
    }

    fn check_sides(
        &self,
        number: usize,
        said: &[Option<usize>; 2],
        conditions: &[Conditions; 2],
        problems: &mut Problems,
    ) {
        // What both directions have from the link is told once, where it is written.
        if let Err(wrong) = self.links[number].conditions.check()
            && said.iter().any(Option::is_none)
        {
            for (key, message) in wrong {
                problems.add(Place::Condition(number, key), message);
            }
            return;
        }
        for (said, conditions) in said.iter().zip(conditions) {
            let (Some(direction), Err(wrong)) = (*said, conditions.check()) else { continue };
            for (key, message) in wrong {
                let place = match self.directions[direction].conditions.says(key) {
                    true => Place::DirectionCondition(direction, key),
                    false => Place::Condition(number, key),
                };
                problems.add(place, message);
            }
        }
    }

    /// Whether the wire that was chosen can do it.
    fn check_wire(
        &self,
        number: usize,
        link: &Link,
        to_switch: bool,
        conditions: &[Conditions; 2],
        problems: &mut Problems,
    ) {
        if link.wire != Some(Wire::Kernel) {
            return;
        }
        if let Some(beyond) = conditions.iter().find_map(Conditions::beyond_kernel) {
            let message =
                format!("the kernel's wire cannot do `{beyond}`: write `wire = user`, or leave it out");
            problems.add(Place::Condition(number, "wire"), message);
        } else if to_switch {
            let message = format!(
                "the kernel's wire goes from node to node, and `{link}` to a switch: write `wire = user`"
            );
            problems.add(Place::Condition(number, "wire"), message);
        }
    }
}
