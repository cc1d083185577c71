//! Where rows are written, and how.

use std::{
    fmt::Write as _,
    io::{self, StdoutLock, Write},
    path::Path,
};

use anyhow::{Result, ensure};
use engram::RowCodec;
use engram_io::NewFile;
use engram_kit::{console, say};

use super::Form;

/// Begins every NumPy file, with the version 1.0.
const NPY_START: &[u8] = b"\x93NUMPY\x01\x00";
/// The header of a NumPy file is a multiple of this.
const NPY_UNIT: usize = 64;

/// What takes rows.
pub(super) struct Output {
    form: Form,
    codec: RowCodec,
    to: To,
    /// What was written as text.
    lines: Vec<String>,
}

enum To {
    /// Lines for people, and for the report.
    Lines,
    /// A file, which appears when it is whole.
    File(NewFile),
    Stdout(StdoutLock<'static>),
}

impl Output {
    /// For `rows` rows in the form `form`, to the file at `path` if one is given.
    pub(super) fn new(
        form: Form,
        path: Option<&Path>,
        codec: RowCodec,
        rows: usize,
    ) -> Result<Self> {
        let row_bytes = match form.value_type() {
            Some(of) => codec.width() * of.bytes(),
            None => codec.row_bytes(),
        };
        let header = match form {
            Form::Npy => npy_header(rows, codec.width()),
            _ => Vec::new(),
        };
        let to = match path {
            None => {
                ensure!(
                    form.is_text(),
                    "values in this form go to a file: name it by --output"
                );
                To::Lines
            }
            Some(path) if path == Path::new("-") => {
                ensure!(
                    console::has_text(),
                    "standard output cannot have the rows and the report; give one of them a file"
                );
                To::Stdout(io::stdout().lock())
            }
            Some(path) => {
                // The length of text is not known before.
                let bytes = if form.is_text() {
                    0
                } else {
                    header.len() + rows * row_bytes
                };
                To::File(NewFile::create(path, bytes as u64)?)
            }
        };
        let mut output = Self {
            form,
            codec,
            to,
            lines: Vec::new(),
        };
        output.put(&header)?;
        Ok(output)
    }

    /// Writes whole `rows`.
    pub(super) fn write(&mut self, rows: &[u8]) -> Result<()> {
        if !self.form.is_text() {
            return match self.form.value_type() {
                Some(of) => self.put(&of.decode(self.codec, rows)),
                None => self.put(rows),
            };
        }
        for row in rows.chunks_exact(self.codec.row_bytes()) {
            let line = if self.form == Form::Hex {
                hex(row)
            } else {
                values(self.codec, row)
            };
            if let To::Lines = self.to {
                say!("{line}");
                self.lines.push(line);
            } else {
                self.put((line + "\n").as_bytes())?;
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.to {
            To::Lines => {}
            To::File(file) => file.write(bytes)?,
            To::Stdout(stdout) => stdout.write_all(bytes)?,
        }
        Ok(())
    }

    /// All is written. Returns the lines, if it was printed.
    pub(super) fn finish(self) -> Result<Vec<String>> {
        match self.to {
            To::Lines => {}
            To::File(file) => file.publish()?,
            To::Stdout(mut stdout) => stdout.flush()?,
        }
        Ok(self.lines)
    }
}

fn hex(row: &[u8]) -> String {
    row.iter().fold(String::new(), |mut line, byte| {
        write!(line, "{byte:02x}").expect("a string takes what it is given");
        line
    })
}

fn values(codec: RowCodec, row: &[u8]) -> String {
    let mut values = vec![0.0; codec.width()];
    codec.decode_f32(row, &mut values);
    let values: Vec<String> = values.iter().map(f32::to_string).collect();
    values.join(" ")
}

/// The header of a NumPy file of `rows` rows of `width` binary32.
fn npy_header(rows: usize, width: usize) -> Vec<u8> {
    let mut dictionary =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let before = NPY_START.len() + size_of::<u16>();
    let all = (before + dictionary.len() + 1).next_multiple_of(NPY_UNIT);
    let padding = all - before - dictionary.len() - 1;
    dictionary.extend(std::iter::repeat_n(' ', padding));
    dictionary.push('\n');
    let length = u16::try_from(dictionary.len()).expect("two numbers fit");
    [NPY_START, &length.to_le_bytes(), dictionary.as_bytes()].concat()
}
