//! `twitcher tables [attach NAME]`

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, json};

use super::shared::exit::{Exit, print_error};
use super::shared::stdout::{print, print_foreign, print_json};
use super::shared::store::{StoreConnection, with_client};
use crate::store::{Catalogue, Client};
use crate::text::printable;
use crate::value::{Value, cbor};

/// List the typed tables that programs with txaio-etcd keep in etcd, or give a table its slot
///
/// The rows of the table in slot 4, if object ids name them, are nodes such as /@4:oid/258. Each line of the
/// list has the slot, the name, the object id and the description of a table.
#[derive(Debug, clap::Args)]
pub struct Tables {
    #[command(flatten)]
    connection: StoreConnection,
    /// With `attach NAME`, the table NAME gets the slot after the highest one, from 1, which is printed. A
    /// table that has a slot keeps it
    #[arg(value_enum, requires = "name")]
    action: Option<Action>,
    /// Name of the table, such as the name of the class that a program has for it
    name: Option<String>,
    /// Description of the table to attach
    #[arg(long, value_name = "TEXT", requires = "name")]
    description: Option<String>,
    /// Object id (a UUID) by which programs know the table to attach [default: a random one]
    #[arg(long, value_name = "UUID", requires = "name", value_parser = parse_oid)]
    oid: Option<String>,
    /// Print a JSON array of objects with slot, name, oid, description, tags and creator; of `attach`, the
    /// table's object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Action {
    Attach,
}

/// What the catalogue says of a table.
struct Table {
    slot: u16,
    name: Option<String>,
    oid: Option<String>,
    description: Option<String>,
    tags: Vec<String>,
    creator: Option<String>,
}

/// The creator of the tables that this program attaches.
const CREATOR: &str = "twitcher";

impl Tables {
    pub fn run(self) -> Exit {
        match (&self.action, &self.name) {
            (Some(Action::Attach), Some(name)) => {
                let settings = self.connection.settings(None)?;
                let timeout = settings.session_timeout();
                let table = with_client(&settings, async |client| self.attach(client, name, timeout).await)?;
                if self.json {
                    print_json(&(table.json().to_string() + "\n"))?;
                } else {
                    print(&format!("{}\n", table.slot))?;
                }
            }
            (Some(Action::Attach) | None, _) => {
                let catalogue = self.connection.with_client(async |client| Ok(client.catalogue().await?))?;
                let (tables, is_complete) = tables(&catalogue);
                note_equal_names(&tables);
                if self.json {
                    let all: Vec<_> = tables.iter().map(Table::json).collect();
                    print_json(&(json!(all).to_string() + "\n"))?;
                } else {
                    print_foreign(listed(&tables).as_bytes())?;
                }
                if !is_complete {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Tries for `timeout`, as `twitcher poke` does, while others change the catalogue.
    async fn attach(&self, client: &Client, name: &str, timeout: Duration) -> Result<Table, Box<dyn Error>> {
        if name.is_empty() {
            return Err("a table needs a name".into());
        }
        let (started, mut tries) = (Instant::now(), 0_u64);
        loop {
            let catalogue = client.catalogue().await?;
            let (tables, is_complete) = tables(&catalogue);
            let is_named = |table: &Table| table.name.as_deref() == Some(name);
            let is_it = |table: &Table| is_named(table) && (self.oid.is_none() || table.oid == self.oid);
            if self.oid.is_none() && tables.iter().filter(|table| is_named(table)).count() > 1 {
                let slots = slots(tables.iter().filter(|table| is_named(table)));
                return Err(format!(
                    "nothing was attached: the tables in {slots} all have the name {}; say which one with \
                     --oid (see `twitcher tables`)",
                    printable(name.as_bytes())
                )
                .into());
            }
            let of_oid = tables.iter().find(|table| self.oid.is_some() && table.oid == self.oid);
            if let Some(other) = of_oid.filter(|table| !is_named(table)) {
                let name = printable(other.name.as_deref().unwrap_or("?").as_bytes());
                return Err(
                    format!("the table in slot {} has this object id already: {name}", other.slot).into()
                );
            }
            let other = tables.iter().find(|table| is_named(table) && !is_it(table));
            let other = other.map(|table| {
                let oid = printable(table.oid.as_deref().unwrap_or("none").as_bytes());
                format!("the table {name} in slot {} has the object id {oid}", table.slot)
            });
            if let Some(table) = tables.into_iter().find(is_it) {
                return Ok(table);
            }
            if let Some(reason) = other {
                return Err(reason.into());
            }
            if !is_complete {
                return Err(
                    "nothing was attached: an entry that cannot be trusted may be that of the table".into()
                );
            }
            let highest = catalogue.entries.last().map_or(0, |(slot, _)| *slot);
            let slot = highest.checked_add(1).ok_or("slot 65535, the last one, is taken; remove a table")?;
            let table = Table {
                slot,
                name: Some(name.to_owned()),
                oid: Some(self.oid.clone().map_or_else(random_oid, Ok)?),
                description: self.description.clone(),
                tags: Vec::new(),
                creator: Some(CREATOR.to_owned()),
            };
            // Otherwise somebody else was faster, and the slots are others now.
            if client.add_table(slot, cbor::encode(&table.entry())?, &catalogue).await? {
                return Ok(table);
            }
            tries += 1;
            if started.elapsed() >= timeout {
                return Err(format!(
                    "the table {name} was not attached: somebody else changed the catalogue of tables at \
                     each of {tries} tries within {} s; see `twitcher tables`, and try again",
                    timeout.as_secs_f64()
                )
                .into());
            }
        }
    }
}

/// Returns the tables of a catalogue, and whether all entries can be trusted. Says which cannot.
fn tables(catalogue: &Catalogue) -> (Vec<Table>, bool) {
    let mut tables = Vec::new();
    for (slot, entry) in &catalogue.entries {
        match Table::read(*slot, entry) {
            Ok(table) => tables.push(table),
            Err(reason) => print_error(format_args!(
                "twitcher: the entry of slot {slot} in the catalogue cannot be trusted, and is skipped: \
                 {reason}; see `twitcher get --decode cbor /@0:bytes/{slot:04x}`, and write it again with \
                 `twitcher set --encode cbor`, or remove it"
            )),
        }
    }
    // Programs find a table by its object id, and each of two would be as good.
    let shared: BTreeSet<String> = tables
        .iter()
        .filter(|table| tables.iter().any(|other| other.slot != table.slot && other.has_oid_of(table)))
        .filter_map(|table| table.oid.clone())
        .collect();
    for oid in &shared {
        print_error(format_args!(
            "twitcher: the entries of {} in the catalogue cannot be trusted, and are skipped: they have one \
             object id, {}; remove those that are wrong, such as `twitcher rm /@0:bytes/0004` for slot 4",
            slots(tables.iter().filter(|table| table.oid.as_ref() == Some(oid))),
            printable(oid.as_bytes())
        ));
    }
    tables.retain(|table: &Table| table.oid.as_ref().is_none_or(|oid| !shared.contains(oid)));
    let is_complete = tables.len() == catalogue.entries.len();
    (tables, is_complete)
}

/// Says which tables have one name. Programs may have such tables: they find them by their object ids.
fn note_equal_names(tables: &[Table]) {
    let mut named = BTreeMap::<&str, Vec<&Table>>::new();
    for table in tables {
        if let Some(name) = &table.name {
            named.entry(name).or_default().push(table);
        }
    }
    for (name, tables) in named.into_iter().filter(|(_, tables)| tables.len() > 1) {
        print_error(format_args!(
            "twitcher: the tables in {} have one name, {}; `twitcher tables attach` needs --oid for them",
            slots(tables.into_iter()),
            printable(name.as_bytes())
        ));
    }
}

/// Returns `the slots 4 and 7`.
fn slots<'a>(tables: impl Iterator<Item = &'a Table>) -> String {
    let slots: Vec<_> = tables.map(|table| table.slot.to_string()).collect();
    match &slots[..] {
        [first @ .., last] if !first.is_empty() => format!("the slots {} and {last}", first.join(", ")),
        slots => format!("slot {}", slots.concat()),
    }
}

/// Lists tables, one a line.
fn listed(tables: &[Table]) -> String {
    let mut rows = vec![["SLOT", "NAME", "OID", "DESCRIPTION"].map(str::to_owned)];
    rows.extend(tables.iter().map(|table| {
        let shown =
            |text: &Option<String>| text.as_ref().map_or("-".into(), |text| printable(text.as_bytes()));
        [table.slot.to_string(), shown(&table.name), shown(&table.oid), shown(&table.description)]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |[slot, name, oid, description]: &[String; 4]| {
        let [first, second, third] = widths;
        format!("{slot:<first$}  {name:<second$}  {oid:<third$}  {description}\n")
    };
    rows.iter().map(line).collect()
}

impl Table {
    fn read(slot: u16, entry: &[u8]) -> Result<Self, String> {
        let Value::Map(fields) = cbor::decode(entry).map_err(|fault| fault.to_string())? else {
            return Err("it is no CBOR map with names".to_owned());
        };
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        let text = |name: &str| match field(name) {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) | None => Ok(None),
            Some(_) => Err(format!("its {name} is no text")),
        };
        let text_of = |tag: &Value| if let Value::Text(tag) = tag { Some(tag.clone()) } else { None };
        match field("slot") {
            None | Some(Value::Null) => {}
            Some(Value::Int(own)) if *own == i128::from(slot) => {}
            Some(Value::Int(own)) => return Err(format!("it says that it is the entry of slot {own}")),
            Some(_) => return Err("its slot is no number".to_owned()),
        }
        let tags = match field("tags") {
            Some(Value::Array(tags)) => tags.iter().filter_map(text_of).collect(),
            Some(_) | None => Vec::new(),
        };
        Ok(Self {
            slot,
            name: text("name")?,
            oid: text("oid")?,
            description: text("description")?,
            tags,
            creator: text("creator")?,
        })
    }

    fn has_oid_of(&self, other: &Self) -> bool {
        self.oid.is_some() && self.oid == other.oid
    }

    fn entry(&self) -> Value {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
        let fields = [
            ("oid", text(&self.oid)),
            ("name", text(&self.name)),
            ("description", text(&self.description)),
            ("tags", Value::Null),
            ("creator", text(&self.creator)),
            ("slot", Value::Int(self.slot.into())),
        ];
        Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn json(&self) -> serde_json::Value {
        let mut object = Map::new();
        object.insert("slot".to_owned(), self.slot.into());
        object.insert("name".to_owned(), json!(self.name));
        object.insert("oid".to_owned(), json!(self.oid));
        object.insert("description".to_owned(), json!(self.description));
        object.insert("tags".to_owned(), json!(self.tags));
        object.insert("creator".to_owned(), json!(self.creator));
        object.into()
    }
}

/// Asks the kernel for a new object id.
fn random_oid() -> Result<String, Box<dyn Error>> {
    let file = "/proc/sys/kernel/random/uuid";
    let oid = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    Ok(oid.trim().to_owned())
}

fn parse_oid(text: &str) -> Result<String, String> {
    let oid = text.to_ascii_lowercase();
    let groups: Vec<_> = oid.split('-').map(str::len).collect();
    let is_one = groups == [8, 4, 4, 4, 12] && oid.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    is_one.then_some(oid).ok_or_else(|| {
        "a UUID has 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, such as \
         6e2c37fa-2f43-4d9c-9a10-0123456789ab"
            .to_owned()
    })
}
