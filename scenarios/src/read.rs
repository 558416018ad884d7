//! From a file and the command line's overrides to a checked [`Scenario`].
//!
//! The way is one line: text, tree, overrides, shape, types, meaning. Each step reports every mistake it finds; a
//! later step runs only when the earlier ones found none.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use crate::{
    error::{ScenarioError, Text, mistake, mistakes},
    fault::InjectedFault,
    model::Scenario,
    nearest::nearest,
    overrides::Overrides,
    shape,
    shipped::shipped,
    tree::Node,
    validate,
};

/// The largest scenario file that is read: far above any scenario, far below a data file given by mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a scenario file and applies the overrides.
///
/// A path that does not exist but names a shipped scenario (`us-accidents`, `us-accidents.toml` or
/// `scenarios/us-accidents.toml`) gives the copy inside the binary.
///
/// # Errors
/// [`ScenarioError`]: the file is missing or unreadable, or it or an override is wrong.
pub fn read(path: &Path, overrides: &Overrides) -> Result<Scenario, ScenarioError> {
    match read_text(path) {
        Ok(text) => parse(&path.display().to_string(), &text, overrides),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match shipped_text(path) {
            Some((file, text)) => parse(&format!("{file} (shipped)"), text, overrides),
            None => Err(ScenarioError::Missing { path: path.to_owned(), help: suggestion(path) }),
        },
        Err(cause) => {
            let help = match cause.kind() {
                io::ErrorKind::IsADirectory => "give a scenario file, such as scenarios/us-accidents.toml",
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => "a scenario is a small TOML file in UTF-8",
                _ => "make the file readable for this user, or give another one",
            };
            Err(ScenarioError::Unreadable { path: path.to_owned(), cause, help: help.to_owned() })
        }
    }
}

/// Makes a scenario of TOML text and overrides; `name` is what errors call the text.
///
/// # Errors
/// [`ScenarioError::Mistake`]: the text or an override is wrong.
pub fn parse(name: &str, text: &str, overrides: &Overrides) -> Result<Scenario, ScenarioError> {
    let mut texts = vec![Text { name: name.to_owned(), text: text.to_owned() }];
    let mut root = match Node::parse(text, 0) {
        Ok(root) => root,
        Err(fault) => return Err(mistake(fault, &texts)),
    };
    let replaced = overrides.replace(&mut root, &mut texts);
    mistakes(replaced, &texts)?;
    mistakes(shape::check(&root), &texts)?;
    let scaled = overrides.scale(&mut root, &mut texts);
    mistakes(scaled, &texts)?;
    let scenario = match serde_json::from_value::<Scenario>(root.to_json()) {
        Ok(scenario) => scenario,
        Err(error) => {
            let fault = root.fault(format!("this is not a scenario: {error}"), "see `millrace scenario schema`");
            return Err(mistake(fault, &texts));
        }
    };
    mistakes(validate::check(&scenario, &root), &texts)?;
    Ok(scenario)
}

/// Reads a file of `[[fault]]` tables and nothing else.
///
/// # Errors
/// [`ScenarioError`]: the file is missing or unreadable, or a fault is wrong.
pub fn read_faults(path: &Path) -> Result<Vec<InjectedFault>, ScenarioError> {
    let text = read_text(path).map_err(|cause| ScenarioError::Unreadable {
        path: path.to_owned(),
        cause,
        help: "give a TOML file of [[fault]] tables".to_owned(),
    })?;
    let texts = [Text { name: path.display().to_string(), text: text.clone() }];
    let root = Node::parse(&text, 0).map_err(|fault| mistake(fault, &texts))?;
    mistakes(shape::check_faults(&root), &texts)?;
    let faults = match serde_json::from_value::<Vec<InjectedFault>>(root.at("fault").to_json()) {
        Ok(faults) => faults,
        Err(error) => {
            let fault = root.fault(format!("these are no faults: {error}"), "see `millrace scenario schema`");
            return Err(mistake(fault, &texts));
        }
    };
    mistakes(validate::check_faults(&faults, &root), &texts)?;
    Ok(faults)
}

fn read_text(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // Editors on Windows put a byte order mark in front of UTF-8.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The shipped scenario that a path names, when it is a bare name or lies in `scenarios/`.
fn shipped_text(path: &Path) -> Option<(&'static str, &'static str)> {
    let parts: Vec<_> = path.components().filter(|part| *part != Component::CurDir).collect();
    let file = match parts[..] {
        [Component::Normal(file)] => file,
        [Component::Normal(folder), Component::Normal(file)] if folder == "scenarios" => file,
        _ => return None,
    };
    let file = file.to_str()?;
    shipped().iter().copied().find(|(name, _)| *name == file || name.strip_suffix(".toml") == Some(file))
}

/// What may have been meant: a scenario file beside the path or in `scenarios/`, or a shipped one.
fn suggestion(path: &Path) -> String {
    let beside =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    let mut known: BTreeSet<String> =
        [beside, PathBuf::from("scenarios")].iter().flat_map(|folder| scenario_files(folder)).collect();
    known.extend(shipped().iter().map(|(file, _)| format!("scenarios/{file}")));
    let stem = |file: &str| Path::new(file).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let stems: Vec<(String, &String)> = known.iter().map(|file| (stem(file), file)).collect();
    let wanted = stem(&path.to_string_lossy());
    let near = nearest(&wanted, stems.iter().map(|(stem, _)| stem.as_str()));
    match near.and_then(|near| stems.iter().find(|(stem, _)| stem == near)) {
        Some((_, file)) => format!("did you mean {file}?"),
        None => format!("scenarios here: {}", known.into_iter().take(20).collect::<Vec<_>>().join(", ")),
    }
}

/// The TOML files in a folder that have the sections of a scenario by name; none when it cannot be listed.
fn scenario_files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| read_text(path).is_ok_and(|text| text.contains("[source]") && text.contains("[stream]")))
        .map(|path| path.strip_prefix(".").unwrap_or(&path).display().to_string())
        .collect()
}

#[cfg(test)]
mod tests;
