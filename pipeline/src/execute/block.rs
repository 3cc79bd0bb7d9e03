//! The output of a block, growing: verdicts of all rows; texts, hashes and signatures of those that passed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use andromeda_format::Count;
use serde::{Deserialize, Serialize};

use super::contamination::Contamination;
use super::cpu::Watch;
use super::judge::{Judge, Noted};
use super::personal::Personal;
use super::rejects::{self, Samples};
use super::segments::{Around, StoredSegment};
use super::signals::SignalColumns;
use super::store::{Sections, column_u32, column_u64};
use crate::analysis::Scratch;
use crate::analysis::signals::Signal;
use crate::decontaminate::Index;
use crate::dedup::exact;
use crate::dedup::signature::{MinHasher, Signer};
use crate::filter::beside::{About, BesideFilters};
use crate::filter::{Filters, Measured, Outcome, Verdict};
use crate::normalize::Normalize;
use crate::recipe::RejectOptions;
use crate::redact::Redactor;
use crate::render::{ChatFormat, Content, FactFields, Facts};

/// Where a segment of a document ends, whether it is trained on, and what stands around it.
pub(super) type SegmentEnd = (u64, bool, Around);

/// What became of a row, as stored.
pub(super) mod verdict {
    /// Passed; it goes on to the search for duplicates.
    pub(crate) const SURVIVED: u8 = 0;
    /// A rule dropped it.
    pub(crate) const DROPPED: u8 = 1;
    /// It is no document.
    pub(crate) const QUARANTINED: u8 = 2;
}

/// What a block counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockCounters {
    /// Number in the file of the first row.
    pub first_row: u64,
    /// Rows of the file that it spans.
    pub file_rows: u64,
    /// Verdicts: one a row, or one a document where a row gives several.
    pub rows: u64,
    /// Bytes of normalized text of all rows that are documents.
    pub bytes: u64,
    /// Rows that passed the rules.
    pub survivors: Count,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, Count>,
    /// Quarantined, by reason.
    pub quarantined: BTreeMap<String, Count>,
}

/// What every document of a block goes through.
pub(super) struct Stages<'a> {
    pub(super) normalize: Normalize,
    /// How dialogues are written down.
    pub(super) chat: ChatFormat,
    pub(super) filters: Filters,
    /// The rules that ask for more than the text.
    pub(super) beside: Option<&'a BesideFilters>,
    /// What replaces personal data.
    pub(super) redactor: Option<&'a Redactor>,
    /// Items of evaluation sets that are taken out.
    pub(super) index: Option<&'a Index>,
    /// Models that judge what the rules do not.
    pub(super) judge: Judge,
    pub(super) hasher: Option<MinHasher>,
    /// Facts of a document that are looked for; each that is has a column.
    pub(super) facts: FactFields,
    /// Whether texts are kept for what comes after.
    pub(super) keep_texts: bool,
    /// Samples of what is not kept.
    pub(super) rejects: RejectOptions,
    /// Statistics that are noted of every document.
    pub(super) signals: Vec<Signal>,
}

/// A document, or why there is none, with the place it has in its file.
pub(super) struct Entry {
    /// Rows after the block's first.
    pub(super) row: u32,
    /// 0 for the only document of a row; 1, 2, ... where a row gives several.
    pub(super) part: u32,
    /// What it says.
    pub(super) content: Result<Content, &'static str>,
    /// Fields of its row that go with it, as JSON.
    pub(super) meta: Option<String>,
    /// What its row says of it, where a rule asks.
    pub(super) about: Option<Box<About>>,
    /// What its row says of it.
    pub(super) facts: Facts,
}

/// The output of a block, growing.
pub(super) struct Output {
    pub(super) counters: BlockCounters,
    file_rows: Vec<u32>,
    parts: Vec<u32>,
    metas: Vec<Option<String>>,
    facts: Vec<Facts>,
    verdicts: Vec<u8>,
    reasons: Vec<u8>,
    reason_names: Vec<String>,
    row_bytes: Vec<u64>,
    pub(super) names: Vec<String>,
    contamination: Contamination,
    personal: Personal,
    /// By verdict: what a rule found that asks for more than the text.
    evidence: Vec<(u32, String)>,
    group: bool,
    hashes: Vec<u8>,
    checks: Vec<u64>,
    urls: Vec<u8>,
    dates: Vec<u64>,
    qualities: Vec<u64>,
    lengths: Vec<u64>,
    signed: Vec<u32>,
    signatures: Vec<u8>,
    bands: Vec<Vec<u64>>,
    segments: Vec<StoredSegment>,
    texts: Vec<u8>,
    noted: Noted,
    faults: Vec<String>,
    rejects: Samples,
    signals: SignalColumns,
}

impl Output {
    pub(super) fn new(stages: &Stages<'_>, group: bool) -> Self {
        Self {
            counters: BlockCounters::default(),
            file_rows: Vec::new(),
            parts: Vec::new(),
            metas: Vec::new(),
            facts: Vec::new(),
            verdicts: Vec::new(),
            reasons: Vec::new(),
            reason_names: Vec::new(),
            row_bytes: Vec::new(),
            names: Vec::new(),
            contamination: Contamination::default(),
            personal: Personal::default(),
            evidence: Vec::new(),
            group,
            hashes: Vec::new(),
            checks: Vec::new(),
            urls: Vec::new(),
            dates: Vec::new(),
            qualities: Vec::new(),
            lengths: Vec::new(),
            signed: Vec::new(),
            signatures: Vec::new(),
            bands: vec![
                Vec::new();
                stages
                    .hasher
                    .as_ref()
                    .map_or(0, |hasher| hasher.options().bands)
            ],
            segments: Vec::new(),
            texts: Vec::new(),
            noted: Noted::default(),
            faults: Vec::new(),
            rejects: Samples::new(stages.rejects),
            signals: SignalColumns::of(&stages.signals),
        }
    }

    pub(super) fn fault(&mut self, message: &str) {
        self.faults.push(message.to_owned());
    }

    /// Puts a batch through the stages, part by part, so that each part's time is known.
    pub(super) fn take(
        &mut self,
        batch: &mut Vec<Entry>,
        stages: &Stages<'_>,
        scratch: &mut Scratch,
        signer: Option<&mut Signer<'_>>,
        watch: &mut Watch,
    ) {
        self.facts.clear();
        let abouts: Vec<Option<Box<About>>> =
            batch.iter_mut().map(|entry| entry.about.take()).collect();
        // Normalized text of each row, and its segments if there are several.
        let mut texts: Vec<Result<(String, Vec<SegmentEnd>), &'static str>> = batch
            .drain(..)
            .map(|entry| {
                self.file_rows.push(entry.row);
                self.parts.push(entry.part);
                self.metas.push(entry.meta);
                self.facts.push(entry.facts);
                let content = entry.content;
                let mut ends = Vec::new();
                let text = match content? {
                    Content::Text(text) => match stages.normalize.normalize(&text) {
                        // Nothing to repair: the row's own string goes on, uncopied.
                        Cow::Borrowed(_) => text,
                        Cow::Owned(repaired) => repaired,
                    },
                    other => {
                        let mut text = String::new();
                        for segment in other.segments_as(stages.chat) {
                            text.push_str(&stages.normalize.normalize(&segment.text));
                            ends.push((text.len() as u64, segment.trained, Around::of(&segment)));
                        }
                        text
                    }
                };
                Ok((text, ends))
            })
            .collect();
        watch.lap("normalize");
        if let Some(redactor) = stages.redactor {
            for (row, text) in (self.verdicts.len()..).zip(&mut texts) {
                if let Ok((text, ends)) = text {
                    self.personal.take(redactor, row, text, ends);
                }
            }
            watch.lap("redact");
        }
        if !stages.signals.is_empty() {
            for text in &texts {
                // Before any rule edits it: what a threshold would see that stood first.
                let text = text.as_ref().ok().map(|(text, _)| text.as_str());
                self.signals.note(&stages.signals, text, scratch);
            }
            watch.lap("signals");
        }
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(texts.len());
        for (text, about) in texts.iter_mut().zip(abouts) {
            let row = self.verdicts.len() + verdicts.len();
            let row = u32::try_from(row).expect("a block has fewer than 2^32 rows");
            verdicts.push(self.judge(row, text.as_mut().ok(), about, stages, scratch));
        }
        watch.lap("filter");
        if stages.index.is_some() {
            let rows = texts.iter_mut().zip(&mut verdicts);
            for (row, (text, verdict)) in (self.verdicts.len()..).zip(rows) {
                if let (Ok((text, ends)), Verdict::Keep) = (text, &verdict) {
                    let segmented = !ends.is_empty();
                    self.contamination
                        .take(stages.index, row, text, segmented, verdict);
                }
            }
            watch.lap("decontaminate");
        }
        let first = self.lengths.len();
        for (text, verdict) in texts.iter().zip(&verdicts) {
            self.counters.rows += 1;
            // What came in: with what was cut.
            let bytes =
                |text: &str| text.len() as u64 + self.contamination.cut(self.verdicts.len());
            let (code, reason, bytes) = match (text, verdict) {
                (Err(reason), _) => (verdict::QUARANTINED, *reason, 0),
                (Ok((text, _)), Verdict::Drop(reason)) => {
                    (verdict::DROPPED, reason.name, bytes(text))
                }
                (Ok((text, _)), Verdict::Keep) => (verdict::SURVIVED, "", bytes(text)),
            };
            let count = Count {
                documents: 1,
                bytes,
            };
            self.counters.bytes += bytes;
            match code {
                verdict::QUARANTINED => {
                    *self
                        .counters
                        .quarantined
                        .entry(reason.to_owned())
                        .or_default() += count;
                }
                verdict::DROPPED => {
                    *self.counters.dropped.entry(reason.to_owned()).or_default() += count;
                }
                _ => self.counters.survivors += count,
            }
            if code != verdict::SURVIVED {
                let row = u32::try_from(self.verdicts.len()).unwrap_or(u32::MAX);
                let of_file = self.file_rows.get(self.verdicts.len()).copied();
                let number = self.counters.first_row + u64::from(of_file.unwrap_or(row));
                let text = text.as_ref().ok().map(|(text, _)| text.as_str());
                let evidence = || match verdict {
                    Verdict::Drop(reason) => {
                        let measured = reason.measured.map(Measured::said);
                        measured.or_else(|| evidence_of(&self.evidence, &self.contamination, row))
                    }
                    Verdict::Keep => None,
                };
                self.rejects.offer(reason, row, number, text, evidence);
            }
            self.verdicts.push(code);
            let reason = self.reason(reason);
            self.reasons.push(reason);
            self.row_bytes.push(bytes);
        }
        let survivors = || {
            let passed = texts
                .iter()
                .zip(&verdicts)
                .filter(|(_, verdict)| **verdict == Verdict::Keep);
            passed.filter_map(|(text, _)| text.as_ref().ok())
        };
        for (text, _) in survivors() {
            let hashes = exact::text_hashes(text);
            self.hashes.extend_from_slice(&hashes.hash.to_le_bytes());
            self.checks.push(hashes.check);
        }
        let of_survivors = texts.iter().zip(&verdicts).zip(&self.facts);
        for (_, facts) in
            of_survivors.filter(|((text, verdict), _)| text.is_ok() && **verdict == Verdict::Keep)
        {
            if stages.facts.url.is_some() {
                // The hash of no address is as good as never 0.
                self.urls
                    .extend_from_slice(&facts.url.unwrap_or(0).to_le_bytes());
            }
            if stages.facts.date.is_some() {
                self.dates.push(facts.date);
            }
            if stages.facts.quality.is_some() {
                self.qualities.push(facts.quality);
            }
        }
        watch.lap("exact");
        if let (Some(hasher), Some(signer)) = (&stages.hasher, signer) {
            for (i, (text, _)) in survivors().enumerate() {
                if let Some(signature) = signer.sign(text) {
                    let start = self.signatures.len();
                    // The lower half of each minimum: of two that differ, one in 65,536 has the same.
                    for minimum in signature {
                        self.signatures
                            .extend_from_slice(&minimum.to_le_bytes()[..2]);
                    }
                    let check = xxhash_rust::xxh3::xxh3_64(&self.signatures[start..]);
                    self.signatures.extend_from_slice(&check.to_le_bytes());
                    hasher
                        .band_keys(signature)
                        .zip(&mut self.bands)
                        .for_each(|(key, band)| band.push(key));
                    self.signed
                        .push(u32::try_from(first + i).expect("a block has fewer than 2^32 rows"));
                }
            }
        }
        watch.lap("signature");
        for (text, ends) in survivors() {
            let document =
                u32::try_from(self.lengths.len()).expect("a block has fewer than 2^32 rows");
            self.segments.extend(
                ends.iter()
                    .map(|(end, trained, around)| (document, *end, *trained, *around)),
            );
            self.lengths.push(text.len() as u64);
            if stages.keep_texts {
                self.texts.extend_from_slice(text.as_bytes());
            }
        }
        watch.lap("write");
    }

    /// The verdict on a document: of the languages, then of the rules, then of its quality.
    fn judge(
        &mut self,
        row: u32,
        document: Option<&mut (String, Vec<SegmentEnd>)>,
        about: Option<Box<About>>,
        stages: &Stages<'_>,
        scratch: &mut Scratch,
    ) -> Verdict {
        let Some((text, ends)) = document else {
            self.noted.language(&stages.judge, None, false);
            self.noted.quality(&stages.judge, None);
            return Verdict::Keep;
        };
        // Parts of a document end at bytes of the whole.
        let may_cut = ends.is_empty();
        let mut found = self.noted.language(&stages.judge, Some(text), may_cut);
        if let (None, Some(rules)) = (&found, stages.beside) {
            found = rules.judge(&about.unwrap_or_default(), text, scratch);
        }
        let verdict = match found {
            None => judge(&stages.filters, text, ends, scratch),
            Some(found) => self.drop(row, found),
        };
        let judged = (verdict == Verdict::Keep).then_some(text.as_str());
        match self.noted.quality(&stages.judge, judged) {
            None => verdict,
            Some(found) => self.drop(row, found),
        }
    }

    /// Notes what was found of a document that goes.
    fn drop(&mut self, row: u32, (reason, evidence): (&'static str, String)) -> Verdict {
        self.evidence.push((row, evidence));
        Verdict::drop(reason)
    }

    fn reason(&mut self, reason: &str) -> u8 {
        let at = self
            .reason_names
            .iter()
            .position(|known| known == reason)
            .unwrap_or_else(|| {
                self.reason_names.push(reason.to_owned());
                self.reason_names.len() - 1
            });
        u8::try_from(at).expect("there are far fewer than 256 reasons in the whole program")
    }

    pub(super) fn write(&mut self, to: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut sections = Sections::default();
        if self.parts.iter().any(|part| *part > 0) {
            sections.push("file-rows", column_u32(self.file_rows.drain(..)));
            sections.push("parts", column_u32(self.parts.drain(..)));
        }
        if self.metas.iter().any(Option::is_some) {
            let metas = json(&self.metas);
            sections.push("metas-bytes", column_u64([metas.len() as u64]));
            sections.push("metas", zstd::bulk::compress(&metas, 1)?);
        }
        self.contamination.write(&mut sections)?;
        self.personal.write(&mut sections)?;
        if !self.evidence.is_empty() {
            let evidence = json(&self.evidence);
            sections.push("evidence-bytes", column_u64([evidence.len() as u64]));
            sections.push("evidence", zstd::bulk::compress(&evidence, 1)?);
        }
        sections.push("verdicts", std::mem::take(&mut self.verdicts));
        sections.push("reasons", std::mem::take(&mut self.reasons));
        sections.push("reason-names", json(&self.reason_names));
        sections.push("row-bytes", column_u64(self.row_bytes.drain(..)));
        if self.group {
            sections.push("names", json(&self.names));
        }
        sections.push("hashes", std::mem::take(&mut self.hashes));
        sections.push("checks", column_u64(self.checks.drain(..)));
        // Left out where they would be empty: a block says what its dataset's render asks for.
        if !self.urls.is_empty() {
            sections.push("urls", std::mem::take(&mut self.urls));
        }
        if !self.dates.is_empty() {
            sections.push("dates", column_u64(self.dates.drain(..)));
        }
        if !self.qualities.is_empty() {
            sections.push("qualities", column_u64(self.qualities.drain(..)));
        }
        sections.push("lengths", column_u64(self.lengths.drain(..)));
        sections.push("signed", column_u32(self.signed.drain(..)));
        sections.push("signatures", std::mem::take(&mut self.signatures));
        for (band, keys) in self.bands.drain(..).enumerate() {
            sections.push(format!("band-{band}"), column_u64(keys));
        }
        sections.push("segments", json(&self.segments));
        self.noted.write(&mut sections);
        sections.push("faults", json(&self.faults));
        self.signals.write(&mut sections);
        if let Some(samples) = self.rejects.section()? {
            sections.push(rejects::SECTION, samples);
        }
        let texts = zstd::bulk::compress(&self.texts, 1)?;
        sections.push("texts", texts);
        sections.write(to)
    }
}

/// What a list, a name or an evaluation set had to do with a verdict.
fn evidence_of(
    evidence: &[(u32, String)],
    contamination: &Contamination,
    row: u32,
) -> Option<String> {
    let at = evidence.partition_point(|(other, _)| *other < row);
    let found = evidence.get(at).filter(|(other, _)| *other == row);
    let found = found.map(|(_, evidence)| evidence.clone());
    found
        .filter(|evidence| !evidence.is_empty())
        .or_else(|| contamination.said(row))
}

/// The verdict on a document, whose text becomes what the rules left of it.
fn judge(
    filters: &Filters,
    text: &mut String,
    ends: &[SegmentEnd],
    scratch: &mut Scratch,
) -> Verdict {
    let mut start = 0;
    let answers: Vec<std::ops::Range<usize>> = ends
        .iter()
        .filter_map(|&(end, trained, _)| {
            // A text in memory is shorter than the memory.
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let segment = std::mem::replace(&mut start, end)..end;
            trained.then_some(segment)
        })
        .collect();
    let parts = (!ends.is_empty()).then_some(&answers[..]);
    let edited = match filters.apply(text, parts, scratch) {
        Outcome::Drop(reason) => return Verdict::Drop(reason),
        Outcome::Keep(Cow::Borrowed(_)) => return Verdict::Keep,
        Outcome::Keep(Cow::Owned(edited)) => edited,
    };
    *text = edited;
    Verdict::Keep
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data has a JSON form")
}
