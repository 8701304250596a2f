//! What a user of a large graph feels: how long it takes to check and to build one of 100 components with eight parameters
//! each, beside the same functions called by hand, and what the compiler and the graph say to a mistake.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use harness::{Effort, Figures, Suite};

pub(crate) fn add(suite: &mut Suite) {
    let about = "100 components with 8 parameters each, compiled after everything that they depend on, in a debug build; \
                 by hand: the same functions, called in order with references to their eight values";
    suite
        .figures("compile-100x8", about, figures_of)
        .from(Effort::Normal);
}

const COMPONENTS: usize = 100;
const PARAMETERS: usize = 8;

fn figures_of(figures: &mut Figures<'_>) {
    let rounds = match figures.effort() {
        Effort::Smoke | Effort::Quick => 1,
        Effort::Normal => 3,
        Effort::Full => 9,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let package = Package::new(folder.path());
    let sources = [("ours", graph(Mistake::None)), ("by hand", by_hand())];
    for (who, source) in sources {
        let mut times = [Vec::new(), Vec::new()];
        // The first one builds what they depend on.
        for round in 0..=rounds {
            for (command, times) in ["check", "build"].into_iter().zip(&mut times) {
                if figures.is_stopped() {
                    return;
                }
                // Changed each time, or there would be nothing to do.
                package.write(&format!("{source}\n// {command} {round}\n"));
                let began = Instant::now();
                let output = figures.on_all_cores(|| package.cargo(&[command]));
                let took = began.elapsed().as_secs_f64();
                assert!(
                    output.status.success(),
                    "{who} {command}: {}",
                    text(&output)
                );
                if round > 0 {
                    times.push(took);
                }
            }
        }
        for (metric, times) in ["check", "build"].into_iter().zip(times) {
            match who {
                "ours" => figures.ours(metric, "s", &times),
                _ => figures.peer(who, metric, "s", &times),
            }
        }
    }
    for (about, mistake, command) in [
        (
            "a type that nobody provides, when it is started",
            Mistake::NoProvider,
            "run",
        ),
        (
            "a parameter that is none, from the compiler",
            Mistake::NoParameter,
            "check",
        ),
        (
            "the same with #[component]",
            Mistake::NoParameterOfMacro,
            "check",
        ),
    ] {
        package.write(&graph(mistake));
        let output = figures.on_all_cores(|| package.cargo(&[command, "--quiet"]));
        figures.remark(format!("{about}:\n{}", beginning(&text(&output))));
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first lines from the first that speaks of an error on.
fn beginning(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.contains("error"));
    lines
        .take(LINES_SHOWN)
        .fold(String::new(), |text, line| text + "  " + line + "\n")
}

const LINES_SHOWN: usize = 20;

/// A package that depends on the crate, made from nothing but what is on this machine already.
struct Package {
    folder: PathBuf,
}

impl Package {
    fn new(folder: &Path) -> Self {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = fs::canonicalize(bench.join("../..")).expect("the repository");
        let manifest = format!(
            "[package]\nname = \"large\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             init-graph = {{ path = {:?}, features = [\"macros\"] }}\ntokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}\n\n\
             [workspace]\n\n[profile.dev.package.\"*\"]\ndebug = false\n",
            root.join("crates/init-graph"),
        );
        fs::create_dir_all(folder.join("src")).expect("a folder");
        fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
        // The versions that are there, so that nothing has to be fetched.
        fs::copy(bench.join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
        Self {
            folder: folder.to_owned(),
        }
    }

    fn write(&self, source: &str) {
        fs::write(self.folder.join("src/main.rs"), source).expect("a file");
    }

    fn cargo(&self, args: &[&str]) -> Output {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(args)
            .arg("--offline")
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env_remove("RUSTFLAGS")
            .current_dir(&self.folder)
            .output();
        output.expect("cargo starts")
    }
}

/// What is wrong with a graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    NoProvider,
    NoParameter,
    NoParameterOfMacro,
}

/// The parts that part `part` needs.
fn needs(part: usize) -> std::ops::Range<usize> {
    part.saturating_sub(PARAMETERS)..part
}

/// One type for each part, as in a service.
fn types() -> String {
    (0..COMPONENTS).fold(String::new(), |mut text, part| {
        let _ = writeln!(text, "pub struct Part{part}(pub u64);");
        text
    })
}

/// What a part returns: the sum of what it needs.
fn body(part: usize) -> String {
    let sum: String = needs(part)
        .map(|need| format!(" + part_{need}.0"))
        .collect();
    format!("    std::future::ready(()).await;\n    Ok(Part{part}(1{sum}))\n")
}

fn graph(mistake: Mistake) -> String {
    let mut text = format!("use init_graph::{{Dep, Graph, Result}};\n\n{}\n", types());
    for part in 0..COMPONENTS {
        let wrong = part == COMPONENTS / 2;
        let none = matches!(mistake, Mistake::NoParameter | Mistake::NoParameterOfMacro);
        let parameter = |need: usize| match wrong && none && need + 1 == part {
            true => format!("part_{need}: Part{need}"),
            false => format!("part_{need}: Dep<Part{need}>"),
        };
        if wrong && mistake == Mistake::NoParameterOfMacro {
            text.push_str("#[init_graph::component]\n");
        }
        let parameters: Vec<_> = needs(part).map(parameter).collect();
        let _ = writeln!(
            text,
            "async fn part_{part}({}) -> Result<Part{part}> {{\n{}}}\n",
            parameters.join(", "),
            body(part)
        );
    }
    text.push_str("#[tokio::main(flavor = \"current_thread\")]\nasync fn main() {\n");
    text.push_str("    let mut graph = Graph::new();\n");
    for part in 0..COMPONENTS {
        if mistake != Mistake::NoProvider || part != COMPONENTS / 2 {
            let _ = writeln!(text, "    graph.add(part_{part});");
        }
    }
    text.push_str("    if let Err(error) = graph.start().await {\n        eprintln!(\"{error}\");\n    }\n}\n");
    text
}

fn by_hand() -> String {
    let mut text = format!(
        "type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;\n\n{}\n",
        types()
    );
    for part in 0..COMPONENTS {
        let parameters: Vec<_> = needs(part)
            .map(|need| format!("part_{need}: &Part{need}"))
            .collect();
        let _ = writeln!(
            text,
            "async fn part_{part}({}) -> Result<Part{part}> {{\n{}}}\n",
            parameters.join(", "),
            body(part)
        );
    }
    text.push_str("async fn start() -> Result<Part99> {\n");
    for part in 0..COMPONENTS {
        let arguments: Vec<_> = needs(part).map(|need| format!("&part_{need}")).collect();
        let _ = writeln!(
            text,
            "    let part_{part} = part_{part}({}).await?;",
            arguments.join(", ")
        );
    }
    text.push_str(
        "    Ok(part_99)\n}\n\n#[tokio::main(flavor = \"current_thread\")]\nasync fn main() {\n",
    );
    text.push_str("    println!(\"{}\", start().await.map_or(0, |part| part.0));\n}\n");
    text
}
