//! The worlds of one round in one running gateway, told apart by the schemas on a session's search path: A, which all
//! users share; for each user a B that differs from it in nothing the user may see, and a copy that physically holds what
//! the user may see and nothing else, to be read by an administrator. It asks no statement.

use std::collections::BTreeSet;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use super::condition::{Attributes, Condition, Spelling};
use super::policy::{DEPLOYMENT_KEY, Policy, Seen, TWIN, USERS};
use super::random::Dice;
use super::shop::{KEY, Object, Place, Shop, random_cell, random_row};
use super::value::{Cell, Kind, Row};
use crate::gateway::{Files, Gateway, PATIENCE, until};
use crate::postgres_server;

/// An object as one user reaches it: by its name, or inside datasets.
#[derive(Debug)]
pub struct Path {
    /// What it is called in the copy.
    pub name: String,
    pub object: usize,
    pub seen: Seen,
    /// In a dataset: what of it the body takes.
    inside: Option<(Vec<String>, Option<Condition>)>,
}

/// What a user's name for an object leads to.
#[derive(Debug)]
pub enum Reach {
    Absent,
    /// A dataset that may be asked for and cannot be read.
    Refused,
    /// The object itself first.
    Paths(Vec<Path>),
}

/// One user's reading of the policy, and the rows of their world B.
pub struct Hand {
    pub reach: Vec<Reach>,
    /// By object: the rows, and how many of them come of the first half of A's.
    rows: Vec<(Vec<Row>, usize)>,
}

pub struct Round {
    pub shop: Shop,
    pub policy: Policy,
    /// By user; the twin has ann's.
    pub hands: Vec<Hand>,
    pub gateway: Gateway,
}

/// Servers that all rounds share. Absent where no round asks for them.
#[derive(Default)]
pub struct Servers {
    pub postgres: Option<postgres_server::Server>,
    pub kafka: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Servers {
    pub async fn start(places: &[Place]) -> Self {
        let kafka = places.contains(&Place::Kafka).then(|| MockCluster::new(1).unwrap());
        match places.contains(&Place::Postgres) {
            true => Self { postgres: Some(postgres_server::Server::start().await), kafka },
            false => Self { postgres: None, kafka },
        }
    }
}

pub const A: &str = "a0";

pub fn b(user: usize) -> String {
    format!("b{}", user % TWIN)
}

pub fn copy(user: usize) -> String {
    format!("c{}", user % TWIN)
}

/// The schemas of a world, for unqualified names.
pub fn search_path(world: &str) -> String {
    "mlpkv".chars().map(|letter| format!("{world}{letter}")).collect::<Vec<_>>().join(", ")
}

impl Reach {
    pub fn of(shop: &Shop, policy: &Policy, user: usize, object: usize) -> Self {
        let Some(seen) = policy.direct(shop, user, object) else { return Self::Absent };
        let name = shop.objects[object].name.clone();
        let mut paths = vec![Path { name: name.clone(), object, seen, inside: None }];
        match within(shop, policy, (user, &[]), object, &name, &mut paths) {
            true => Self::Paths(paths),
            false => Self::Refused,
        }
    }

    pub fn paths(&self) -> &[Path] {
        match self {
            Self::Paths(paths) => paths,
            Self::Absent | Self::Refused => &[],
        }
    }
}

/// The paths below a dataset, `false` where one of them is barred. `via`: owners of the datasets that lead there.
fn within(
    shop: &Shop,
    policy: &Policy,
    (user, via): (usize, &[usize]),
    dataset: usize,
    name: &str,
    paths: &mut Vec<Path>,
) -> bool {
    let Some(body) = &shop.objects[dataset].body else { return true };
    for read in &body.reads {
        let Some(owners) = policy.direct(shop, body.owner, read.object) else { return false };
        if read.columns.iter().any(|c| owners.hidden.contains(c)) {
            return false;
        }
        let others: Vec<usize> = std::iter::once(user).chain(via.iter().copied()).collect();
        let Some(seen) = policy.through(shop, body.owner, &others, read.object) else { return false };
        let name = format!("{}__{name}", shop.objects[read.object].name);
        let inside = Some((read.columns.clone(), read.only.clone()));
        paths.push(Path { name: name.clone(), object: read.object, seen, inside });
        let via: Vec<usize> = std::iter::once(body.owner).chain(via.iter().copied()).collect();
        if !within(shop, policy, (user, &via), read.object, &name, paths) {
            return false;
        }
    }
    true
}

impl Path {
    /// In a dataset: a column that its body takes is hidden from its reader.
    pub fn withholds(&self) -> bool {
        self.inside.as_ref().is_some_and(|(columns, _)| columns.iter().any(|c| self.seen.hidden.contains(c)))
    }

    /// What comes of a row here: hidden columns and those that a body does not take are NULL.
    fn view(&self, shop: &Shop, policy: &Policy, row: &Row) -> Option<Row> {
        let object = &shop.objects[self.object];
        let mut view = policy.view(object, &self.seen, row)?;
        let Some((columns, only)) = &self.inside else { return Some(view) };
        if let Some(only) = only {
            let named = |name: &str| view[object.columns.iter().position(|(n, _)| n == name).unwrap()].clone();
            if only.truth(&named, &Attributes::new()) != Some(Some(true)) {
                return None;
            }
        }
        for (cell, (name, _)) in view.iter_mut().zip(&object.columns) {
            if !columns.contains(name) {
                *cell = Cell::Null;
            }
        }
        Some(view)
    }
}

impl Hand {
    pub fn new(dice: &mut Dice, shop: &Shop, policy: &Policy, user: usize) -> Self {
        let reach: Vec<Reach> = (0..shop.objects.len()).map(|o| Reach::of(shop, policy, user, o)).collect();
        let mut hand = Self { reach, rows: vec![] };
        let rows: Vec<_> = (0..shop.objects.len()).map(|object| hand.other(dice, shop, policy, object)).collect();
        hand.rows = rows;
        hand
    }

    /// Columns of an object that the user may not name.
    pub fn hidden(&self, object: usize) -> BTreeSet<String> {
        self.reach[object].paths().first().map(|path| path.seen.hidden.clone()).unwrap_or_default()
    }

    /// All that is seen of a row, by every way the user has.
    fn views(&self, shop: &Shop, policy: &Policy, object: usize, row: &Row) -> Vec<Option<Row>> {
        let paths = self.reach.iter().flat_map(Reach::paths).filter(|p| p.object == object);
        paths.map(|p| p.view(shop, policy, row)).collect()
    }

    /// Rows of A that the user sees no way at all.
    pub fn hides(&self, shop: &Shop, policy: &Policy, object: usize, row: &Row) -> bool {
        self.views(shop, policy, object, row).iter().all(Option::is_none)
    }

    /// World B's rows: what is hidden is another, in number too, and what is seen is as it was.
    fn other(&self, dice: &mut Dice, shop: &Shop, policy: &Policy, object: usize) -> (Vec<Row>, usize) {
        let columns = shop.objects[object].columns.len();
        let counted = shop.objects[object].place == Place::Kafka;
        let hidden_row = |dice: &mut Dice| {
            for _ in 0..30 {
                let id = dice.between(1, 40);
                let row = random_row(dice, id, columns);
                if self.hides(shop, policy, object, &row) {
                    return Some(row);
                }
            }
            None
        };
        let (mut rows, mut half) = (vec![], 0);
        for (at, row) in shop.rows[object].iter().enumerate() {
            if at == shop.half(object) {
                half = rows.len();
            }
            if !counted && dice.chance(25) {
                rows.extend(hidden_row(dice));
            }
            let seen = self.views(shop, policy, object, row);
            if seen.iter().all(Option::is_none) {
                match hidden_row(dice) {
                    Some(other) => rows.extend(Some(other).filter(|_| counted || dice.chance(70))),
                    None if counted => rows.push(row.clone()),
                    None => {}
                }
                continue;
            }
            let mut row = row.clone();
            for column in 0..columns {
                let mut other = row.clone();
                other[column] = if column == 0 { Cell::Int(dice.between(1, 40)) } else { random_cell(dice, column) };
                if self.views(shop, policy, object, &other) == seen {
                    row = other;
                }
            }
            rows.push(row);
        }
        (rows, half)
    }

    /// Their B's rows by object, and where the second half begins.
    fn world(&self) -> Vec<(&[Row], usize)> {
        self.rows.iter().map(|(rows, half)| (rows.as_slice(), *half)).collect()
    }

    /// Whether their world B still holds it.
    pub fn keeps(&self, token: &str) -> bool {
        self.rows.iter().flat_map(|(rows, _)| rows).flatten().any(|cell| cell.text() == token)
    }

    /// Every text and number that the user may see of world A.
    pub fn visible(&self, shop: &Shop, policy: &Policy) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        for (object, rows) in shop.rows.iter().enumerate() {
            for view in rows.iter().flat_map(|row| self.views(shop, policy, object, row)).flatten() {
                texts.extend(view.iter().map(Cell::text));
            }
        }
        texts
    }
}

impl Round {
    /// `number`: of the run's rounds; names in shared servers are made from it.
    pub async fn start(shop: Shop, policy: Policy, hands: Vec<Hand>, servers: &Servers, number: u64) -> Self {
        let drawn = Drawn { shop: &shop, policy: &policy, hands: &hands, number };
        let gateway = drawn.start(servers).await;
        Self { shop, policy, hands, gateway }
    }

    pub fn hand(&self, user: usize) -> &Hand {
        &self.hands[user % TWIN]
    }
}

/// A round that is not running yet.
struct Drawn<'a> {
    shop: &'a Shop,
    policy: &'a Policy,
    hands: &'a [Hand],
    number: u64,
}

const BOOTSTRAP: &str =
    "p, root, *, select, allow\np, root, *, create, allow\np, root, *, insert, allow\np2, root, *, unfiltered\n";

/// The rows of each object, and where the second half of them begins.
type Halves<'a> = Vec<(&'a [Row], usize)>;

impl Drawn<'_> {
    /// A and each B, with their rows and where the second half begins.
    fn worlds(&self) -> Vec<(String, Halves<'_>)> {
        let rows = self.shop.rows.iter().enumerate();
        let a = (A.to_string(), rows.map(|(object, rows)| (rows.as_slice(), self.shop.half(object))).collect());
        let bs = self.hands.iter().enumerate().map(|(user, hand)| (b(user), hand.world()));
        std::iter::once(a).chain(bs).collect()
    }

    fn tables(&self, place: Place) -> impl Iterator<Item = (usize, &Object)> {
        self.shop.objects.iter().enumerate().filter(move |(_, o)| o.place == place)
    }

    async fn start(&self, servers: &Servers) -> Gateway {
        let (attributes, mut users) = self.policy.users();
        users.push(("root".into(), String::new()));
        let mut files = Files {
            sources: vec![("memory".into(), self.memory())],
            users,
            attributes,
            policy: self.csv(),
            key: Some(DEPLOYMENT_KEY.into()),
            settings: "[engine]\npartitions = 1\n".into(),
            ..Files::default()
        };
        if let Some(server) = servers.postgres.as_ref().filter(|_| self.tables(Place::Postgres).next().is_some()) {
            files.sources.push(("crm".into(), self.postgres(server).await));
        }
        if let Some(cluster) = servers.kafka.as_ref().filter(|_| self.tables(Place::Kafka).next().is_some()) {
            files.sources.extend(self.kafka(cluster).await);
        }
        let in_the_lake = self.tables(Place::Lake).next().is_some();
        if !in_the_lake {
            return Gateway::start(&Files { datasets: self.datasets(), ..files }).await;
        }
        let policy = std::mem::replace(&mut files.policy, BOOTSTRAP.into());
        let gateway = Gateway::start(&files.with_lake()).await;
        self.fill_lake(&gateway).await;
        let datasets = self.datasets();
        for (name, text) in &datasets {
            std::fs::write(gateway.path(&format!("catalog/datasets/{name}.sql")), text).unwrap();
        }
        let root = gateway.connect("root").await;
        let known = "SELECT count(*) FROM information_schema.tables WHERE table_schema LIKE '__v'";
        until(&root, known, |n| n.lines().next() == Some(&datasets.len().to_string())).await;
        gateway.change_policy(&policy).await;
        gateway
    }

    fn csv(&self) -> String {
        let worlds: Vec<String> = self.worlds().into_iter().map(|(name, _)| name).collect();
        format!("{BOOTSTRAP}{}{}", self.roots(), self.policy.csv(self.shop, &worlds))
    }

    /// A masked column's copy has a mask as well, which shows it as it is: where a predicate over it stands must not
    /// differ, or an error would be raised in one place and not in the other. Tables that no `*` covers are named.
    fn roots(&self) -> String {
        let mut lines = String::new();
        for (user, hand) in self.hands.iter().enumerate() {
            for path in hand.reach.iter().flat_map(Reach::paths) {
                let object = &self.shop.objects[path.object];
                if object.place == Place::View {
                    continue;
                }
                let name = format!("{}m.{}", copy(user), path.name);
                if path.name.ends_with("__dlq") {
                    lines += &format!("p, root, {name}, select, allow\n");
                }
                for column in path.seen.masks.keys() {
                    lines += &format!("p3, root, {name}, {column}, \"custom(\"\"{column}\"\")\"\n");
                }
            }
        }
        lines
    }

    // --- memory

    fn memory(&self) -> String {
        let mut text = "kind = \"memory\"\n".to_string();
        for (world, rows) in self.worlds() {
            for (at, object) in self.tables(Place::Memory) {
                text += &toml_table(&format!("{world}m.{}", object.name), &object.columns, rows[at].0);
            }
            for (at, object) in self.tables(Place::Lake) {
                let (first, second) = rows[at].0.split_at(rows[at].1);
                text += &toml_table(&format!("{world}s.{}_1", object.name), &object.columns, first);
                text += &toml_table(&format!("{world}s.{}_2", object.name), &object.columns, second);
            }
        }
        for (user, hand) in self.hands.iter().enumerate() {
            let mut known = BTreeSet::new();
            for path in hand.reach.iter().flat_map(Reach::paths) {
                let object = &self.shop.objects[path.object];
                if object.place != Place::View && known.insert(&path.name) {
                    text += &self.copied(user, path, object);
                }
            }
        }
        text
    }

    /// What is seen, physically. Inside a dataset a hidden column stays, empty: its body may name it.
    fn copied(&self, user: usize, path: &Path, object: &Object) -> String {
        let kept = |name: &str| path.inside.is_some() || !path.seen.hidden.contains(name);
        let columns: Vec<_> = object.columns.iter().filter(|(name, _)| kept(name)).cloned().collect();
        let views = self.shop.rows[path.object].iter().filter_map(|row| self.policy.view(object, &path.seen, row));
        let rows = views.map(|view| {
            let cells = view.into_iter().zip(&object.columns).filter(|(_, (name, _))| kept(name));
            cells.map(|(cell, _)| cell).collect()
        });
        let rows: Vec<Row> = rows.collect();
        toml_table(&format!("{}m.{}", copy(user), path.name), &columns, &rows)
    }

    // --- datasets

    fn datasets(&self) -> Vec<(String, String)> {
        let mut files = vec![];
        for (at, object) in self.tables(Place::View) {
            let Some(body) = &object.body else { continue };
            for (world, _) in self.worlds() {
                let named = |read: &Object| format!("{world}{}.{}", read.place.letter(), read.name);
                let sql = self.filled(&body.sql, &named);
                let owner = Policy::subject(body.owner);
                files.push((format!("{world}v.{}", object.name), format!("-- owner: {owner}\n{sql}\n")));
            }
            for (user, hand) in self.hands.iter().enumerate() {
                files.extend(hand.reach[at].paths().iter().filter_map(|path| self.copied_dataset(user, path)));
            }
            // a dataset below another is its own copy there
            for (user, hand) in self.hands.iter().enumerate() {
                let above = hand.reach.iter().enumerate().filter(|(other, _)| *other != at);
                let paths = above.flat_map(|(_, reach)| reach.paths()).filter(|p| p.object == at);
                files.extend(paths.filter_map(|path| self.copied_dataset(user, path)));
            }
        }
        files.sort();
        files.dedup();
        files
    }

    fn copied_dataset(&self, user: usize, path: &Path) -> Option<(String, String)> {
        let object = &self.shop.objects[path.object];
        let body = object.body.as_ref()?;
        let world = copy(user);
        let named = |read: &Object| {
            let letter = if read.place == Place::View { 'v' } else { 'm' };
            format!("{world}{letter}.{}__{}", read.name, path.name)
        };
        let shown = object.columns.iter().filter_map(|(name, kind)| {
            use super::policy::Shown;
            let hidden = path.seen.hidden.contains(name);
            let shown = match path.seen.masks.get(name) {
                _ if hidden && path.inside.is_none() => return None,
                _ if hidden => format!("NULL::{}", kind.name()),
                None => name.clone(),
                Some(Shown::Nothing) => format!("NULL::{}", kind.name()),
                Some(Shown::By(mask, _)) => mask.sql(name, *kind),
            };
            Some(format!("{shown} AS {name}"))
        });
        let shown: Vec<String> = shown.collect();
        let none = Attributes::new();
        let filters: Vec<String> =
            path.seen.filters.iter().map(|(c, _)| format!("({})", c.spell(Spelling::Sql(&none)))).collect();
        let filter = if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) };
        let body = self.filled(&body.sql, &named);
        let sql = match path.seen == Seen::default() {
            true => body,
            false => format!("SELECT {} FROM ({body}) AS body{filter}", shown.join(", ")),
        };
        Some((format!("{world}v.{}", path.name), format!("-- owner: root\n{sql}\n")))
    }

    fn filled(&self, sql: &str, name: &dyn Fn(&Object) -> String) -> String {
        let objects = self.shop.objects.iter();
        objects.fold(sql.to_string(), |sql, object| sql.replace(&format!("{{{}}}", object.name), &name(object)))
    }

    // --- other places

    async fn fill_lake(&self, gateway: &Gateway) {
        let mut statements = vec![];
        for (world, _) in self.worlds() {
            statements.push(format!("CREATE SCHEMA {world}l"));
            for (_, object) in self.tables(Place::Lake) {
                let (to, from) = (format!("{world}l.{}", object.name), format!("{world}s.{}", object.name));
                // two files, each with bounds of its own; what is seen of A and of a B is cut at the same row
                statements.push(format!("CREATE TABLE {to} AS SELECT * FROM {from}_1"));
                statements.push(format!("INSERT INTO {to} SELECT * FROM {from}_2"));
            }
        }
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        gateway.run("root", &statements).await;
    }

    async fn postgres(&self, server: &postgres_server::Server) -> String {
        let (mut sql, mut schemas) = (String::new(), vec![]);
        for (world, rows) in self.worlds() {
            let schema = format!("r{}_{world}", self.number);
            sql += &format!("CREATE SCHEMA {schema};");
            for (at, object) in self.tables(Place::Postgres) {
                let columns: Vec<String> =
                    object.columns.iter().map(|(name, kind)| format!("{name} {}", kind.name())).collect();
                sql += &format!("CREATE TABLE {schema}.{} ({});", object.name, columns.join(", "));
                for row in rows[at].0 {
                    let cells: Vec<String> = row.iter().map(Cell::sql).collect();
                    sql += &format!("INSERT INTO {schema}.{} VALUES ({});", object.name, cells.join(", "));
                }
            }
            schemas.push(format!("{schema} = \"{world}p\""));
        }
        server.run(&sql).await;
        format!(
            "kind = \"postgres\"\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\ntls = \"off\"\n\
             schemas = {{ {} }}\n",
            server.socket(),
            server.port,
            schemas.join(", ")
        )
    }

    async fn kafka(&self, cluster: &MockCluster<'static, DefaultProducerContext>) -> Vec<(String, String)> {
        let brokers = cluster.bootstrap_servers();
        let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        let mut sources = vec![];
        for (world, rows) in self.worlds() {
            let mut text = format!("kind = \"kafka\"\nbrokers = \"{brokers}\"\nschema = \"{world}k\"\n");
            for (at, object) in self.tables(Place::Kafka) {
                let topic = format!("r{}_{world}_{}", self.number, object.name);
                cluster.create_topic(&topic, 1, 1).unwrap();
                let declared: Vec<&(String, Kind)> = object.columns.iter().filter(|(name, _)| name != KEY).collect();
                let columns: Vec<String> = declared
                    .iter()
                    .map(|(name, kind)| format!("{{ name = \"{name}\", type = \"{}\" }}", kind.name()))
                    .collect();
                text += &format!("[topics.{}]\ntopic = \"{topic}\"\nkey = \"text\"\n", object.name);
                text += &format!("columns = [{}]\n", columns.join(", "));
                for row in rows[at].0 {
                    let fields =
                        declared.iter().zip(row).map(|((name, _), cell)| format!("\"{name}\": {}", cell.json()));
                    let value = format!("{{{}}}", fields.collect::<Vec<_>>().join(", "));
                    let key = row[declared.len()].text();
                    let record = FutureRecord::to(&topic).partition(0).payload(&value).key(&key);
                    producer.send(record, PATIENCE).await.map_err(|(e, _)| e).unwrap();
                }
            }
            sources.push((format!("stream_{world}"), text));
        }
        sources
    }
}

fn toml_table(name: &str, columns: &[(String, Kind)], rows: &[Row]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|(name, kind)| format!("{{ name = \"{name}\", type = \"{}\" }}", kind.name())).collect();
    let rows: Vec<String> =
        rows.iter().map(|row| format!("[{}]", row.iter().map(Cell::toml).collect::<Vec<_>>().join(", "))).collect();
    format!("[[table]]\nname = \"{name}\"\ncolumns = [{}]\nrows = [{}]\n", columns.join(", "), rows.join(",\n"))
}

/// The names of subjects, for messages.
pub fn user(index: usize) -> &'static str {
    USERS[index]
}
