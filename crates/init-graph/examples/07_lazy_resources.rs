//! Large definitions in files, loaded when somebody asks for one and kept under a limit: memory before and after.
//!
//! The catalogue is a component that only `Lazy` reaches, so a process that never needs it never opens it. Run it with
//! `cargo run --release -p init-graph --example 07_lazy_resources`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use init_graph::{Context, Dep, Graph, Lazy, Result};

/// Where the definitions lie: one file for each key.
struct Folder(PathBuf);

/// Definitions by key, of which at most `bytes_max` bytes stay in memory.
struct Catalogue {
    folder: PathBuf,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<u32, (Arc<str>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Catalogue {
    /// The definition of `key`, from memory or else from its file; what was used longest ago makes room.
    async fn get(&self, key: u32) -> Result<Arc<str>> {
        if let Some(found) = self.kept().touch(key) {
            return Ok(found);
        }
        let path = self.folder.join(format!("{key}.txt"));
        let text: Arc<str> = tokio::task::spawn_blocking(|| fs::read_to_string(path))
            .await??
            .into();
        self.kept().insert(key, Arc::clone(&text), self.bytes_max);
        Ok(text)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn touch(&mut self, key: u32) -> Option<Arc<str>> {
        self.uses += 1;
        let (text, used) = self.by_key.get_mut(&key)?;
        *used = self.uses;
        Some(Arc::clone(text))
    }

    fn insert(&mut self, key: u32, text: Arc<str>, bytes_max: usize) {
        self.bytes += text.len();
        if let Some((old, _)) = self.by_key.insert(key, (text, self.uses)) {
            self.bytes -= old.len();
        }
        while self.bytes > bytes_max {
            let oldest = self.by_key.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            if let Some((text, _)) = self.by_key.remove(&oldest) {
                self.bytes -= text.len();
            }
        }
    }
}

async fn catalogue(folder: Dep<Folder>, cx: Context) -> Result<Catalogue> {
    cx.message("reading the index");
    println!("  the catalogue starts");
    Ok(Catalogue {
        folder: folder.0.clone(),
        bytes_max: 16 << 20,
        kept: Mutex::default(),
    })
}

/// What the handlers of a service would hold.
struct Api {
    catalogue: Lazy<Catalogue>,
}

async fn api(catalogue: Lazy<Catalogue>) -> Result<Api> {
    Ok(Api { catalogue })
}

const DEFINITIONS: u32 = 256;
const BYTES_EACH: usize = 512 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("definitions-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let shown = show(&folder).await;
    fs::remove_dir_all(&folder)?;
    shown
}

async fn show(folder: &std::path::Path) -> Result<()> {
    for key in 0..DEFINITIONS {
        fs::write(
            folder.join(format!("{key}.txt")),
            line(key).repeat(BYTES_EACH / 32),
        )?;
    }
    println!(
        "{DEFINITIONS} definitions, {} on disk\n",
        mib(DEFINITIONS as usize * BYTES_EACH)
    );

    let mut graph = Graph::new();
    graph.value(Folder(folder.to_owned()));
    graph.add(catalogue);
    graph.add(api);
    println!("{}\n", graph.plan()?);
    let running = graph.start().await?;
    let api = running.get::<Api>().ok_or("the api was added above")?;
    println!("started, nothing loaded:       {}", memory());

    let first = api.catalogue.get().await?.get(7).await?;
    println!("one definition of {}:    {}", mib(first.len()), memory());

    let catalogue = api.catalogue.get().await?;
    for key in 0..DEFINITIONS {
        catalogue.get(key).await?;
    }
    println!("all of them asked for once:    {}", memory());
    println!(
        "  kept {} under a limit of {}",
        mib(catalogue.kept().bytes),
        mib(catalogue.bytes_max)
    );

    let everything: Result<Vec<_>, _> = (0..DEFINITIONS)
        .map(|key| fs::read_to_string(folder.join(format!("{key}.txt"))))
        .collect();
    println!("all of them loaded at once:    {}", memory());
    drop(everything?);
    running.shutdown().await?;
    Ok(())
}

/// 32 bytes.
fn line(key: u32) -> String {
    format!("definition {key:>10} of a thing\n")
        .chars()
        .chain(std::iter::repeat(' '))
        .take(32)
        .collect()
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The memory that the process has in use now, as far as the system tells.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.map_or_else(|| "unknown here".to_owned(), |kib| mib(kib * 1024))
}
