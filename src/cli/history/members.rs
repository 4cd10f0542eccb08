//! `twitcher history --services[=SERVICE]`

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use hyper::Method;

use super::History;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::stdout::{print, print_json};
use crate::cli::shared::table::{self, Cell, Column, Table};
use crate::control::client;
use crate::ledger::{Ledger, MemberFilter, MemberRecord};
use crate::model::StoreName;

impl History {
    pub(super) async fn ask_for_members(&self, socket: &Path, service: Option<&str>) -> Exit {
        let mut query = self.terms();
        query.extend(service.map(|service| ("service", service.to_owned())));
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = client::ask(socket, Method::GET, "members", &query).await?;
        if self.json {
            print_json(&String::from_utf8_lossy(&reply))?;
            return Ok(ExitCode::SUCCESS);
        }
        self.show_members(&client::lines::<MemberRecord>(socket, &reply)?)
    }

    /// Lists what the ledger has while no daemon runs.
    pub(super) fn read_members(&self, ledger: &mut Ledger, service: Option<&str>) -> Exit {
        let Self { since, until, .. } = *self;
        let filter = MemberFilter { service: service.map(str::to_owned), since, until };
        let changes = ledger.member_history(&filter, None, self.limit())?;
        let changes: Vec<_> = changes.into_iter().map(|(_, change)| change).collect();
        if self.json {
            let lines = changes.iter().map(|change| serde_json::to_string(change).unwrap_or_default() + "\n");
            print_json(&lines.collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        }
        self.show_members(&changes)
    }

    fn show_members(&self, changes: &[MemberRecord]) -> Exit {
        let width = table::terminal_width().filter(|_| !self.wide);
        let now = SystemTime::now();
        let mut table = Table::new(COLUMNS);
        for change in changes {
            let style = if change.what == "announced" { table::GOOD } else { table::ODD };
            let store = Some(&change.store).filter(|store| **store != StoreName::default().as_str());
            let place = store.map_or(change.member.clone(), |store| format!("{store}:{}", change.member));
            table.row([
                width.map_or_else(|| change.at.to_the_second(), |_| change.at.short(now)).into(),
                change.service.as_str().into(),
                Cell::new(&change.what, style),
                place.into(),
            ]);
        }
        print(&table.render(width, &[]))?;
        Ok(ExitCode::SUCCESS)
    }
}

const COLUMNS: [Column; 4] =
    [Column::whole("TIME"), Column::whole("SERVICE"), Column::whole("WHAT"), Column::path("MEMBER")];
