//! `list`: what there is.

use clap::Args;

use super::table::Table;
use crate::{fault::AnyAct, ledger::marks::MARKS, mutants::table, out::say, plan::draw::SCENARIOS};

/// Arguments of `list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The kinds of fault, by family
    #[arg(long)]
    faults: bool,
    /// The planted bugs
    #[arg(long)]
    bugs: bool,
    /// The marks that a full sweep has to reach
    #[arg(long)]
    marks: bool,
}

impl ListArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let mut tables = Vec::new();
        if self.faults {
            let mut kinds = AnyAct::KINDS.to_vec();
            kinds.sort_by_key(|(_, family)| *family);
            let mut table = Table::new(&["family", "fault"]);
            for (name, family) in kinds {
                table.row(&[&family.name(), &name]);
            }
            tables.push(table);
        }
        if self.bugs {
            let mut table = Table::new(&["planted bug", "breaks"]);
            table::all().for_each(|bug| table.row(&[&bug.name, &bug.breaks]));
            tables.push(table);
        }
        if self.marks {
            let mut table = Table::new(&["mark", "means"]);
            MARKS
                .iter()
                .for_each(|mark| table.row(&[&mark.name, &mark.means]));
            tables.push(table);
        }
        if tables.is_empty() {
            let mut table = Table::new(&["scenario", "about"]);
            for scenario in SCENARIOS {
                table.row(&[&scenario.name, &scenario.about]);
            }
            tables.push(table);
        }
        let tables: Vec<_> = tables.iter().map(ToString::to_string).collect();
        say(tables.join("\n").trim_end());
        Ok(0)
    }
}
