//! `millrace quarantine`: what a table's quarantine holds, and what of it can be read by now.

use millrace_compactor::{Compactor, Piece};

use crate::{
    cli::{QuarantineArgs, QuarantineCommand},
    compacting,
    failure::Failure,
    place, scenario,
};

pub(crate) async fn quarantine(command: QuarantineCommand) -> Result<u8, Failure> {
    match command {
        QuarantineCommand::List(args) => list(&open(&args).await?).await,
        QuarantineCommand::Replay(args) => replay(open(&args).await?).await,
    }
}

async fn open(args: &QuarantineArgs) -> Result<Compactor, Failure> {
    let scenario = scenario::read(&args.scenario)?;
    let lake = place::lake(&scenario, &args.place).await?;
    let table = place::table(&scenario, &args.place, false).await?;
    let mut config = compacting::config(lake, table, &scenario, "");
    config.hold_at.clone_from(&args.hold_at);
    compacting::open(config).await
}

async fn list(compactor: &Compactor) -> Result<u8, Failure> {
    let pieces = compactor.pieces().await.map_err(|e| Failure::of(&e, e.is_configuration()))?;
    for piece in &pieces {
        println!("{}", described(piece));
    }
    let waiting = pieces.iter().filter(|piece| !piece.replayed).count();
    println!("{} pieces, {waiting} of them waiting", pieces.len());
    Ok(0)
}

async fn replay(mut compactor: Compactor) -> Result<u8, Failure> {
    let report = compactor.replay().await.map_err(|e| Failure::of(&e, e.is_configuration()))?;
    let (pass, taken) = (&report.pass, report.pass.objects);
    println!(
        "{taken} pieces replayed: {} rows, {} duplicates; {} still bad, {} not kept whole, {} replayed before",
        pass.rows, pass.duplicates, report.bad, report.cut, report.replayed
    );
    Ok(0)
}

fn described(piece: &Piece) -> String {
    let member = if piece.member > 0 { format!(" member {}", piece.member) } else { String::new() };
    let column = piece.column.as_ref().map(|column| format!(" ({column})")).unwrap_or_default();
    let state = if piece.replayed { "replayed" } else { "waiting" };
    let Piece { object, line, offset, length, reason, .. } = piece;
    format!("{object}{member} line {line} offset {offset}: {reason}{column}, {length} bytes, {state}")
}
