//! `millrace scenario check|list|schema`

use millrace_scenarios::{Overrides, Scenario};

use crate::{
    cli::{ScenarioArgs, ScenarioCommand},
    failure::Failure,
    output::WIDTH,
};

/// Reads the scenario that the arguments name, overrides applied.
pub(crate) fn read(args: &ScenarioArgs) -> Result<Scenario, Failure> {
    let overrides = Overrides { rate: args.rate, duration: args.duration, seed: args.seed, set: args.set.clone() };
    millrace_scenarios::read(&args.scenario, &overrides).map_err(Failure::diagnostic)
}

pub(crate) fn scenario(command: ScenarioCommand) -> Result<u8, Failure> {
    match command {
        ScenarioCommand::Check(args) => println!("{}", millrace_scenarios::effective(&read(&args)?).trim_end()),
        ScenarioCommand::List => {
            for listed in millrace_scenarios::list() {
                for (i, line) in wrap(&listed.description, WIDTH - 22).iter().enumerate() {
                    println!("{:<20}  {line}", if i == 0 { listed.name.as_str() } else { "" });
                }
            }
        }
        ScenarioCommand::Schema => println!("{:#}", millrace_scenarios::schema()),
    }
    Ok(0)
}

/// Breaks text between words into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.chars().count() + word.chars().count() < width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
