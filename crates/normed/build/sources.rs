//! A hash of the code that computes results.
//!
//! It covers the engine and every module of the library but [`NO_RESULTS`], and the versions of all
//! packages they are built with. Comments, documentation, layout and unit tests leave it as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The modules of the library on which no result depends. They show results, or fetch files, whose content
/// is hashed where it is used.
const NO_RESULTS: [&str; 6] = ["study", "plot", "hub", "error.rs", "build.rs", "lib.rs"];

/// The hash of the sources in `roots` and of the packages in the lock file, if there is one: 32
/// hexadecimal digits.
pub fn hash(roots: &[&Path], lock: &Path) -> Result<String, String> {
    let mut hash = Fnv::new();
    for root in roots {
        let mut files = Vec::new();
        collect(root, &mut files)?;
        files.sort();
        for path in files {
            // With `/` on every system.
            let parts = path.strip_prefix(root).map_err(|e| e.to_string())?.components();
            let name: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
            if NO_RESULTS.contains(&&*name[0]) {
                continue;
            }
            hash.write(name.join("/").as_bytes());
            let bytes = read(&path)?;
            if path.extension().is_some_and(|e| e == "rs") {
                let text = String::from_utf8(bytes).map_err(|e| e.to_string())?;
                let tokens = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
                write_code(&mut hash, tokens);
            } else {
                hash.write(&bytes);
            }
        }
    }
    if lock.exists() {
        let text = String::from_utf8(read(lock)?).map_err(|e| e.to_string())?;
        packages(&text).iter().for_each(|package| hash.write(package.as_bytes()));
    }
    Ok(format!("{:032x}", hash.0))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// All files below `directory`, except unit tests.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Hashes `tokens`, without documentation and without modules that are compiled for tests alone.
fn write_code(hash: &mut Fnv, tokens: TokenStream) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(attribute) = attribute(&tokens[at..]) {
            if attribute.starts_with("doc") {
                at += attribute_length(&tokens[at..]);
                continue;
            }
            if attribute == "cfg(test)" && is_word(tokens.get(at + 2), "mod") {
                // `mod`, its name, and its body or a semicolon.
                at += 5;
                continue;
            }
        }
        match &tokens[at] {
            TokenTree::Group(group) => {
                hash.write(format!("{:?}", group.delimiter()).as_bytes());
                write_code(hash, group.stream());
                hash.write(b"end");
            }
            token => hash.write(token.to_string().as_bytes()),
        }
        at += 1;
    }
}

/// The content of an attribute at the start of `tokens`, without white space.
fn attribute(tokens: &[TokenTree]) -> Option<String> {
    match &tokens[attribute_length(tokens).checked_sub(1)?] {
        TokenTree::Group(group) => {
            Some(group.stream().to_string().split_whitespace().collect::<String>())
        }
        _ => None,
    }
}

/// The number of tokens of the attribute at the start of `tokens`: two for `#[…]`, three for `#![…]`, else 0.
fn attribute_length(tokens: &[TokenTree]) -> usize {
    let is =
        |i: usize, c: char| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == c);
    let brackets = |i: usize| matches!(tokens.get(i), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Bracket);
    match () {
        () if is(0, '#') && brackets(1) => 2,
        () if is(0, '#') && is(1, '!') && brackets(2) => 3,
        () => 0,
    }
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(name)) if name == word)
}

/// The entries of the packages in a `Cargo.lock` on which the library and the engine depend. Packages of the
/// workspace are left out: their sources are hashed instead.
fn packages(lock: &str) -> BTreeSet<&str> {
    let value = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let field = |entry: &str, key: &str| {
        entry.lines().find(|line| line.starts_with(&format!("{key} = "))).and_then(value)
    };
    let mut entries: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for entry in lock.split("[[package]]").skip(1) {
        if let Some(name) = field(entry, "name") {
            entries.entry(name).or_default().push(entry.trim());
        }
    }
    let (mut seen, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut next = vec!["normed".to_owned(), "normed-engine".to_owned()];
    while let Some(name) = next.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let mut words = name.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        for entry in entries.get(name).into_iter().flatten() {
            if version.is_some() && field(entry, "version").as_deref() != version {
                continue;
            }
            if field(entry, "source").is_some() {
                used.insert(*entry);
            }
            let dependencies = entry.lines().skip_while(|line| *line != "dependencies = [");
            next.extend(dependencies.skip(1).take_while(|line| *line != "]").filter_map(value));
        }
    }
    used
}

/// The 128-bit hash FNV-1a. It needs no package, and no cryptographic strength is needed here.
struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// Adds `bytes` and their number.
    fn write(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }
}
