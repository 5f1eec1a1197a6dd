//! The source files of a crate, parsed, with the arrows between them: which file names an item that
//! another file defines. Tests at the foot of a file and modules under `#[cfg(test)]` are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree};

/// Segments of a path, `["crate", "tensor", "Tensor"]`.
type Segments = Vec<String>;

/// One source file.
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The module that it defines: `["crate", "tensor", "tape"]`.
    pub module: Segments,
    /// Every path in its code that has two segments or more, and those of its `use` declarations.
    pub paths: BTreeSet<Segments>,
    /// Every identifier in its code.
    pub identifiers: BTreeSet<String>,
    /// The macros it calls.
    pub macros: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Names that `use` brings in, with the path that each stands for; globs are under `*`.
    imports: BTreeMap<String, Vec<Segments>>,
}

/// The files of one crate, by module.
pub struct SourceTree {
    files: BTreeMap<Segments, SourceFile>,
}

impl SourceTree {
    /// Parses every file below `src`.
    pub fn parse(src: &Path) -> Self {
        let mut tree = Self { files: BTreeMap::new() };
        tree.parse_dir(src, &["crate".to_owned()]);
        tree
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.values()
    }

    /// The module paths of the files that `file` names items of, without itself.
    pub fn targets(&self, file: &SourceFile) -> BTreeSet<Segments> {
        let targets = file.paths.iter().filter_map(|path| self.resolve(&file.module, path, 0));
        targets.filter(|target| *target != file.module).collect()
    }

    fn parse_dir(&mut self, dir: &Path, module: &[String]) {
        let mut entries: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                self.parse_dir(&path, &[module, &[stem]].concat());
            } else if path.extension().is_some_and(|e| e == "rs") && stem != "tests" {
                let own = matches!(stem.as_str(), "mod" | "lib" | "main");
                let module = if own { module.to_vec() } else { [module, &[stem]].concat() };
                let file = SourceFile::parse(path, module.clone());
                assert!(self.files.insert(module, file).is_none(), "a module in two files");
            }
        }
    }

    /// The module of the file that defines what `path` means inside `module`; none if it is not of
    /// this crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Segments> {
        assert!(
            depth < 16,
            "{}: {} is re-exported in a circle",
            module.join("::"),
            path.join("::")
        );
        let mut at = module.to_vec();
        let mut rest = path;
        match path[0].as_str() {
            "crate" => (at, rest) = (vec!["crate".to_owned()], &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            first => {
                let child = [module, &[first.to_owned()]].concat();
                if !self.files.contains_key(&child) {
                    let file = self.files.get(module)?;
                    let import = file.imports.get(first).into_iter().flatten().next();
                    // A name that is brought in is an arrow of the `use` that brings it.
                    return import.filter(|import| **import != path).and_then(|import| {
                        let whole = [&import[..], &path[1..]].concat();
                        (whole[0] != *first).then(|| self.resolve(module, &whole, depth + 1))?
                    });
                }
            }
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            at.pop()?;
            rest = &rest[1..];
        }
        while let Some(next) = rest.first() {
            let child = [&at[..], std::slice::from_ref(next)].concat();
            if !self.files.contains_key(&child) {
                break;
            }
            (at, rest) = (child, &rest[1..]);
        }
        let file = self.files.get(&at)?;
        let Some(name) = rest.first() else { return Some(at) };
        if file.items.contains(name) {
            return Some(at);
        }
        if let Some(import) = file.imports.get(name).into_iter().flatten().next() {
            return self.resolve(&at, import, depth + 1);
        }
        // Names that a glob re-exports.
        let globs = file.imports.get("*").into_iter().flatten();
        let mut sources = globs.filter_map(|glob| {
            let source = self.resolve(&at, glob, depth + 1)?;
            self.files[&source].items.contains(name).then_some(source)
        });
        sources.next().or(Some(at))
    }

    /// The groups of files, with the same `prefix` of a module path, that name each other in a circle.
    pub fn circles(&self) -> Vec<BTreeSet<String>> {
        let arrows: BTreeMap<&Segments, BTreeSet<Segments>> =
            self.files.iter().map(|(module, file)| (module, self.targets(file))).collect();
        let reachable = |from: &Segments| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = left.pop() {
                left.extend(arrows[&module].iter().filter(|t| seen.insert((*t).clone())).cloned());
            }
            seen
        };
        let reach: BTreeMap<&Segments, BTreeSet<Segments>> =
            arrows.keys().map(|module| (*module, reachable(module))).collect();
        let mut circles = BTreeSet::new();
        for (module, reached) in &reach {
            if reached.contains(*module) {
                let circle = reached.iter().filter(|other| reach[other].contains(*module));
                circles.insert(circle.map(|module| module.join("::")).collect::<BTreeSet<_>>());
            }
        }
        circles.into_iter().collect()
    }
}

impl SourceFile {
    fn parse(path: PathBuf, module: Segments) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut file = Self {
            path,
            module,
            paths: BTreeSet::new(),
            identifiers: BTreeSet::new(),
            macros: BTreeSet::new(),
            items: BTreeSet::new(),
            imports: BTreeMap::new(),
        };
        for item in &syntax.items {
            if let Some(name) = name_of(item) {
                file.items.insert(name);
            }
        }
        file.visit_file(&syntax);
        file
    }

    fn add_use(&mut self, tree: &UseTree, before: &[String], public: bool) {
        match tree {
            UseTree::Path(path) => {
                self.add_use(&path.tree, &[before, &[path.ident.to_string()]].concat(), public);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(tree, before, public));
            }
            UseTree::Name(name) => {
                self.import(name.ident.to_string(), name.ident.to_string(), before, public);
            }
            UseTree::Rename(rename) => {
                self.import(rename.rename.to_string(), rename.ident.to_string(), before, public);
            }
            UseTree::Glob(_) => {
                self.imports.entry("*".to_owned()).or_default().push(before.to_vec());
                if !public {
                    self.paths.insert(before.to_vec());
                }
            }
        }
    }

    /// A re-export brings a name in, and is no arrow of its own.
    fn import(&mut self, name: String, original: String, before: &[String], public: bool) {
        let path = match original.as_str() {
            "self" => before.to_vec(),
            _ => [before, &[original]].concat(),
        };
        let name = if name == "self" { path.last().cloned().unwrap_or(name) } else { name };
        self.identifiers.extend(path.iter().cloned());
        if !public {
            self.paths.insert(path.clone());
        }
        self.imports.entry(name).or_default().push(path);
    }

    /// The paths among the tokens of a macro's call.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons): (Segments, usize) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    let ident = ident.to_string();
                    self.identifiers.insert(ident.clone());
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path));
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.add_path(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add_path(path);
    }

    fn add_path(&mut self, path: Segments) {
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for SourceFile {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_use(&item.tree, &[], public);
    }

    fn visit_impl_item_fn(&mut self, method: &'ast syn::ImplItemFn) {
        if !is_test(&method.attrs) {
            syn::visit::visit_impl_item_fn(self, method);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
        self.identifiers.insert(ident.to_string());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.macros.extend(call.path.segments.last().map(|segment| segment.ident.to_string()));
        self.add_tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        _ => return None,
    })
}
