//! Each statement by every user, over every world, and what is wrong with the answers. It makes no statement.

use std::collections::{BTreeMap, HashMap};

use super::canary::Canaries;
use super::door::{Answer, By, Door};
use super::policy::{TWIN, USERS};
use super::query::{Order, Statement};
use super::random::Dice;
use super::report::{Outcome, Report};
use super::world::{A, Reach, Round, b, copy};

/// Sessions of every user in every world.
pub struct Judge<'a> {
    round: &'a Round,
    by: By,
    doors: HashMap<(usize, String), Door>,
    canaries: Vec<Canaries>,
}

/// What is wrong, in one line, and the answers that show it.
#[derive(Debug)]
pub struct Fault {
    pub user: usize,
    pub what: &'static str,
    pub answers: Vec<(String, Answer)>,
}

/// The administrator, who reads copies.
const ROOT: usize = USERS.len();

/// Faults that stand in the open until what mends them is merged. A line here is a debt: what it lets pass is counted.
///
/// A dataset's body is inlined, so that a predicate of its reader's meets rows that its WHERE keeps out: errors tell.
fn known_open(round: &Round, statement: &Statement, one: &Answer, other: &Answer) -> bool {
    let dataset = statement.objects.iter().any(|o| round.shop.objects[*o].body.is_some());
    dataset && (is_of_data(one) || is_of_data(other))
}

impl<'a> Judge<'a> {
    pub fn new(round: &'a Round, by: By) -> Self {
        let canaries = round.hands.iter().map(|hand| Canaries::new(&round.shop, &round.policy, hand)).collect();
        Self { round, by, doors: HashMap::new(), canaries }
    }

    /// Every user's answers, back to back and again, so that the second could be another's from the cache.
    pub async fn judge(&mut self, statement: &Statement, dice: &mut Dice, report: &mut Report) -> Result<(), Fault> {
        let mut users: Vec<usize> = (0..USERS.len()).collect();
        let turn = dice.below(users.len());
        users.rotate_left(turn);
        let mut firsts: BTreeMap<usize, Answer> = BTreeMap::new();
        for user in &users {
            let answers = self.ask(*user, A, statement, 1).await;
            firsts.extend(answers.into_iter().map(|answer| (*user, answer)));
        }
        // prepared once and executed twice, where there are parameters
        let times = if statement.parameters.is_empty() { 1 } else { 2 };
        for user in &users {
            let first = &firsts[user];
            for again in self.ask(*user, A, statement, times).await {
                if again != *first {
                    return Err(fault(*user, "the same question again", [("first", first), ("again", &again)]));
                }
            }
        }
        if firsts[&0] != firsts[&TWIN] {
            let answers = [("ann", &firsts[&0]), ("twin", &firsts[&TWIN])];
            return Err(fault(0, "two of one class", answers));
        }
        for user in 0..TWIN {
            let first = &firsts[&user];
            let other = self.ask_once(user, &b(user), statement).await;
            // two of one class are one case more each
            let weight = if user == 0 { 2 } else { 1 };
            if other != *first {
                if known_open(self.round, statement, first, &other) {
                    report.count(statement, Outcome::KnownOpen, weight);
                    continue;
                }
                return Err(fault(user, "two worlds", [("A", first), ("B", &other)]));
            }
            self.search(user, statement, first)?;
            let expected = self.ask_once(ROOT, &copy(user), statement).await;
            let outcome = self.compare(user, statement, first, &expected)?;
            if matches!(outcome, Outcome::Refused | Outcome::Internal) {
                let told = if first.error.is_some() { first } else { &expected };
                report.refuse(&told.shown(), &statement.query.sql());
            }
            report.count(statement, outcome, weight);
        }
        Ok(())
    }

    async fn ask_once(&mut self, user: usize, world: &str, statement: &Statement) -> Answer {
        self.ask(user, world, statement, 1).await.pop().expect("one answer")
    }

    async fn ask(&mut self, user: usize, world: &str, statement: &Statement, times: usize) -> Vec<Answer> {
        let key = (user, world.to_string());
        if !self.doors.contains_key(&key) {
            let name = USERS.get(user).unwrap_or(&"root");
            let door = Door::open(&self.round.gateway, name, world, self.by).await;
            self.doors.insert(key.clone(), door);
        }
        self.doors.get_mut(&key).expect("it is there now").ask(statement, times).await
    }

    /// Both worlds answered alike by now: what only A holds and B too gives back is chance.
    fn search(&self, user: usize, statement: &Statement, answer: &Answer) -> Result<(), Fault> {
        let parameters: Vec<String> = statement.parameters.iter().map(|(_, cell)| cell.text()).collect();
        let asked = format!("{} {}", statement.query.sql(), parameters.join(" "));
        match self.canaries[user].find(&answer.bytes, &asked) {
            Some(token) if self.round.hand(user).keeps(token) => Err(fault(user, "a hidden value", [(token, answer)])),
            Some(_) | None => Ok(()),
        }
    }

    /// With the copy that holds only what the user may see.
    fn compare(&self, user: usize, statement: &Statement, found: &Answer, expected: &Answer) -> Result<Outcome, Fault> {
        let wrong = |what| Err(fault(user, what, [("found", found), ("copy", expected)]));
        let reach: Vec<&Reach> = statement.objects.iter().map(|o| &self.round.hand(user).reach[*o]).collect();
        let refused = reach.iter().any(|r| matches!(r, Reach::Refused));
        let withheld = reach.iter().flat_map(|r| r.paths()).any(|path| path.withholds());
        let dataset = statement.objects.iter().any(|o| self.round.shop.objects[*o].body.is_some());
        match (found.code(), expected.code()) {
            ("", "") => {}
            ("XX000", _) | (_, "XX000") => return Ok(Outcome::Internal),
            ("0A000", _) | (_, "0A000") => return Ok(Outcome::Refused),
            // a dataset that is there and cannot be read is absent in the copy
            (code, "42P01") if refused && code.starts_with("42") => return Ok(Outcome::Denied),
            ("42501", "42703") => return Ok(Outcome::Denied),
            ("42501", _) if withheld => return Ok(Outcome::Denied),
            // a copy's body has no barrier: its reader's predicate may meet what the body keeps out
            ("", code) if dataset && code.starts_with("22") => return Ok(Outcome::KnownOpen),
            (one, other) if one == other => {
                return Ok(match one {
                    "42P01" | "42703" | "42501" => Outcome::Denied,
                    code if code.starts_with("22") || code == "21000" => Outcome::Error,
                    _ => Outcome::Refused,
                });
            }
            _ => return wrong("another error than the copy's"),
        }
        if found.columns != expected.columns {
            return wrong("other columns than the copy's");
        }
        let sorted = |answer: &Answer| {
            let mut rows = answer.rows.clone();
            rows.sort();
            rows
        };
        let equal = match statement.query.order {
            Order::Total(..) => found.rows == expected.rows,
            Order::None => sorted(found) == sorted(expected),
        };
        match equal {
            true if found.rows.is_empty() => Ok(Outcome::Empty),
            true => Ok(Outcome::Rows),
            false => wrong("other rows than the copy's"),
        }
    }
}

fn is_of_data(answer: &Answer) -> bool {
    answer.code().starts_with("22") || answer.code() == "21000"
}

fn fault<'a>(user: usize, what: &'static str, answers: impl IntoIterator<Item = (&'a str, &'a Answer)>) -> Fault {
    Fault {
        user,
        what,
        answers: answers.into_iter().map(|(name, answer)| (name.to_string(), answer.clone())).collect(),
    }
}
