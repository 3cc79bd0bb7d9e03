//! The language of a source file, as far as the rules for code tell languages apart: by what its row says, or else by the
//! name of the file, after the names that GitHub's linguist has for extensions.

/// A language that some rule treats apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Html,
    Json,
    Markdown,
    Roff,
    Smt,
    Tex,
    Text,
    Xml,
    Xslt,
    Yaml,
    Owl,
    Dot,
    /// Motorola 68000 assembly.
    M68k,
    WebAssembly,
    Other,
}

/// By the name that a row gives it.
fn by_name(name: &str) -> Language {
    match name.to_lowercase().as_str() {
        "html" => Language::Html,
        "json" => Language::Json,
        "markdown" => Language::Markdown,
        "roff" | "roff manpage" => Language::Roff,
        "smt" => Language::Smt,
        "tex" => Language::Tex,
        "text" => Language::Text,
        "xml" => Language::Xml,
        "xslt" => Language::Xslt,
        "yaml" => Language::Yaml,
        "web ontology language" => Language::Owl,
        "graphviz (dot)" | "graphviz" => Language::Dot,
        "motorola 68k assembly" => Language::M68k,
        "webassembly" => Language::WebAssembly,
        _ => Language::Other,
    }
}

fn by_extension(extension: &str) -> Language {
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" | "xht" | "xhtml" => Language::Html,
        "json" | "geojson" | "jsonl" | "topojson" | "webmanifest" => Language::Json,
        "md" | "markdown" | "mdown" | "mkd" | "mkdn" => Language::Markdown,
        "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "man" | "mdoc" | "roff" | "troff"
        | "nroff" | "me" | "ms" => Language::Roff,
        "smt" | "smt2" => Language::Smt,
        "tex" | "sty" | "cls" | "bbx" | "cbx" | "dtx" | "ltx" => Language::Tex,
        "txt" | "text" => Language::Text,
        "xsl" | "xslt" => Language::Xslt,
        "xml" | "xsd" | "wsdl" | "rss" | "rdf" | "plist" | "csproj" | "vcxproj" | "ui" | "xaml" => {
            Language::Xml
        }
        "yml" | "yaml" => Language::Yaml,
        "owl" => Language::Owl,
        "dot" | "gv" => Language::Dot,
        "x68" => Language::M68k,
        "wat" | "wast" => Language::WebAssembly,
        _ => Language::Other,
    }
}

/// The last part of a path, and its extension.
pub(super) fn name_and_extension(path: &str) -> (&str, &str) {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (name, extension),
        _ => (name, ""),
    }
}

/// The language of a file, of which its row may say the language, the path, both or nothing.
pub(super) fn language(named: Option<&str>, path: Option<&str>) -> Language {
    match (named, path) {
        (Some(named), _) => by_name(named),
        (None, Some(path)) => by_extension(name_and_extension(path).1),
        (None, None) => Language::Other,
    }
}

impl Language {
    /// Whether lines of it are as long as paragraphs, so that the rules for lines of code say nothing (arXiv 2402.19173).
    pub(super) fn has_long_lines(self) -> bool {
        matches!(
            self,
            Self::Html
                | Self::Json
                | Self::Markdown
                | Self::Roff
                | Self::Smt
                | Self::Tex
                | Self::Text
                | Self::Xml
        )
    }

    /// Whether files of it are mostly data.
    pub(super) fn is_data(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Json | Self::Yaml | Self::Owl | Self::Dot
        )
    }
}
