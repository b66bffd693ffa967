//! The documents say what the code does: codes, keys, families, files and examples.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base::Kind;
use proxy::reply::status_of;

use super::{files_below, read, root};

#[test]
fn every_fault_is_in_the_life_of_a_request_with_its_status() {
    let page = read("docs/life-of-a-request.md");
    for kind in Kind::ALL {
        let status = match status_of(kind) {
            0 => "none".to_owned(),
            status => status.to_string(),
        };
        let row = format!("| `{}` | {status} |", kind.code());
        assert!(page.contains(&row), "docs/life-of-a-request.md lacks: {row}");
    }
}

#[test]
fn the_operations_page_has_every_log_key_and_no_other() {
    // A key stands in the writer as `"key":` inside of a byte string, with its quotes escaped.
    let writer = read("crates/observe/src/access/json.rs");
    let written = writer.split("\\\":").map(|before| before.rsplit("\\\"").next().unwrap_or_default().to_owned());
    let mut written: BTreeSet<String> = written.filter(|key| is_name(key)).collect();
    assert!(written.remove("reused") && written.len() > 20, "the writer has changed its form: {written:?}");
    written.insert("reused".to_owned());
    assert_eq!(first_column(&read("docs/operations.md"), "## The access log"), written);
}

#[test]
fn the_operations_page_has_every_metric_and_no_other() {
    let mut written = BTreeSet::new();
    for path in files_below("crates/observe/src", ".rs") {
        if path.ends_with("tests.rs") || !path.display().to_string().contains("/metrics") {
            continue;
        }
        let text = read(path);
        let quoted = text.split('"').filter(|text| is_name(text)).map(str::to_owned);
        written.extend(quoted.filter(|name| name.starts_with("tidegate_") || name.starts_with("process_")));
    }
    assert!(written.len() > 20, "the writers have changed their form: {written:?}");
    assert_eq!(first_column(&read("docs/operations.md"), "## Metrics"), written);
}

#[test]
fn the_reference_is_current() {
    let current = read("docs/reference.md") == config::reference();
    assert!(current, "make it anew: cargo run -p tidegate -- reference > docs/reference.md");
}

#[test]
fn examples_in_the_documents_load() {
    let mut examples = 0;
    for path in pages() {
        for (line, block) in blocks(&read(&path), "yaml") {
            examples += 1;
            let name = format!("{}:{line}", path.display());
            if let Err(mistakes) = config::load_text(&name, &block, &root(), &|_| None) {
                panic!("the example at {name} is wrong:\n{mistakes}");
            }
        }
    }
    assert!(examples > 5, "only {examples} examples were found");
}

#[test]
fn links_lead_somewhere() {
    for path in pages() {
        let folder = root().join(path.parent().unwrap_or(Path::new("")));
        for link in links(&read(&path)) {
            if link.contains("://") {
                let public = PUBLIC.iter().any(|place| link.starts_with(place));
                assert!(public, "{}: `{link}` is not in PUBLIC", path.display());
                continue;
            }
            let file = link.split('#').next().unwrap_or_default();
            assert!(file.is_empty() || folder.join(file).exists(), "{}: `{link}` leads nowhere", path.display());
        }
    }
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let summary = read("docs/SUMMARY.md");
    for path in pages() {
        let Ok(page) = path.strip_prefix("docs") else { continue };
        if page != Path::new("SUMMARY.md") {
            assert!(summary.contains(&format!("({})", page.display())), "docs/SUMMARY.md lacks {}", page.display());
        }
    }
}

#[test]
fn the_tests_that_threats_names_exist() {
    let mut tests = BTreeSet::new();
    for path in files_below("crates", ".rs") {
        let text = read(path);
        tests.extend(text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::to_owned));
    }
    let page = read("THREATS.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let named: Vec<&str> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| is_name(&name.replace(char::is_numeric, "")) && name.contains('_'))
        .collect();
    assert!(named.len() > 30, "the tables have changed their form: {named:?}");
    for name in named {
        assert!(tests.contains(name), "THREATS.md names `{name}`, which does not exist");
    }
}

#[test]
fn no_document_knows_the_machine_it_was_written_on() {
    for path in pages() {
        let text = read(&path);
        for trace in ["/root/", "/work/", "/home/"] {
            assert!(!text.contains(trace), "{} has `{trace}`", path.display());
        }
    }
}

/// Where links may lead outside of the repository.
const PUBLIC: [&str; 3] = ["https://www.rust-lang.org/", "https://keepachangelog.com/", "https://semver.org/"];

/// Every page of Markdown that is ours.
fn pages() -> Vec<PathBuf> {
    files_below("", ".md")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The names in the first columns of the tables under a heading, up to the next heading of its rank.
fn first_column(page: &str, heading: &str) -> BTreeSet<String> {
    let lines = page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let cells = lines.filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The blocks of code in this language, each with the line where it begins. Blocks with any other word behind the
/// language, such as `yaml,fragment`, are no whole document.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, String)>);
    let opening = format!("```{language}");
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == opening => open = Some((number + 2, String::new())),
            None => {}
        }
    }
    found
}

/// The targets of the links of a page, outside of its code.
fn links(page: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            code = !code;
        } else if !code {
            // Every other piece between backticks is code.
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}
