//! Batch hashing: all layers and columns of many tokens in one pass.

use std::ops::Range;

use super::{
    batch::{Batch, NGrams},
    columns::Columns,
    divisor::Divisor,
    powers::powers,
    scheme::{HashRule, MAX_ORDER, Mix, Scheme},
    sequence::{DEAD, Sequence, Window},
    token_map::TokenMap,
};
use crate::{
    error::{AddressError, ColumnsError, SchemeError},
    ids::{LayerId, RowId},
};

/// A scheme made ready to hash. It never changes and can be shared between threads.
///
/// ```
/// use engram_format::{Hasher, SchemeName, RowIds, Sequence};
///
/// let hasher = Hasher::new(SchemeName::LongCatFlashLite.scheme(), None)?;
/// let mut sequence = Sequence::new();
/// let mut row_ids = RowIds::new();
///
/// // A prompt of three tokens: the rows of all its positions at once.
/// hasher.extend(&mut sequence, &[5, 6, 7], &mut row_ids)?;
/// assert_eq!((sequence.len(), row_ids.positions()), (3, 3));
///
/// // The rows of two draft tokens, to be fetched ahead. The sequence stays as it is.
/// hasher.peek(&sequence, &[8, 9], &mut row_ids)?;
/// let ahead = row_ids.position(0, 0).to_vec();
/// assert_eq!(sequence.len(), 3);
///
/// // Both are appended, then the second is rejected.
/// hasher.extend(&mut sequence, &[8, 9], &mut row_ids)?;
/// assert_eq!(row_ids.position(0, 0), ahead);
/// sequence.truncate(4);
/// assert_eq!(sequence.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hasher {
    scheme: Scheme,
    token_map: Option<TokenMap>,
    layers: Vec<LayerHasher>,
}

/// Tokens to append to one sequence.
#[derive(Debug)]
pub struct Request<'a> {
    /// The history that the tokens extend.
    pub sequence: &'a mut Sequence,
    /// Raw token ids, or [`DEAD`].
    pub tokens: &'a [u32],
}

/// Row ids `[layer][position][column]`, in a buffer that is reused from call to call. A hasher of
/// [some columns](Hasher::with_columns) gives those alone.
///
/// ```
/// # use engram_format::{Hasher, SchemeName, RowIds, Sequence};
/// # let scheme = SchemeName::LongCatFlashLite.scheme();
/// let hasher = Hasher::new(scheme, None)?;
/// let mut row_ids = RowIds::new();
/// hasher.extend(&mut Sequence::new(), &[5, 6, 7], &mut row_ids)?;
/// for batch in row_ids.batches() {
///     assert_eq!(batch.len(), 3 * hasher.scheme().column_count());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowIds {
    layers: Vec<LayerRows>,
    ids: Vec<RowId>,
    positions: usize,
    /// Windows `[position][max_order]`, where they are kept.
    windows: Vec<u32>,
    keeps_ngrams: bool,
    max_order: usize,
}

/// The row ids of one layer in a [`RowIds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LayerRows {
    id: LayerId,
    /// Columns of the layers before.
    columns_before: usize,
    columns: usize,
}

#[derive(Debug, Clone)]
struct LayerHasher {
    id: LayerId,
    kind: Kind,
    columns: Vec<ColumnHasher>,
    /// The columns that are hashed.
    chosen: Range<usize>,
    /// How many of them there are of each order, from the first order to the last that has any.
    chosen_of_orders: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The factor of each id of the window. Those of the first order that has columns are mixed before it is hashed.
    XorMultiply {
        multipliers: [u64; MAX_ORDER],
        first_order: usize,
    },
    /// For each column, the factor of each id of the window; 0 for those that its order does not reach.
    PerColumn(Mix, Vec<[u64; MAX_ORDER]>),
}

#[derive(Debug, Clone, Copy)]
struct ColumnHasher {
    buckets: Divisor,
    first_row: u64,
}

impl RowIds {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer that keeps the n-gram of each position beside its row ids, so that batches
    /// carry them: four bytes a token and n-gram place more.
    pub fn with_ngrams() -> Self {
        Self {
            keeps_ngrams: true,
            ..Self::default()
        }
    }

    /// What a lookup of `layer` takes: row ids `[position][column]`. None if the scheme has no table
    /// for that layer, or nothing has been hashed yet.
    pub fn batch(&self, layer: LayerId) -> Option<Batch<'_>> {
        let index = self.layers.iter().position(|rows| rows.id == layer)?;
        Some(self.batch_at(index))
    }

    /// The batch of each layer, in the scheme's order.
    pub fn batches(&self) -> impl Iterator<Item = Batch<'_>> {
        (0..self.layers.len()).map(|index| self.batch_at(index))
    }

    pub(super) fn batch_at(&self, layer_index: usize) -> Batch<'_> {
        let LayerRows { id, columns, .. } = self.layers[layer_index];
        let batch = Batch::new(id, self.layer(layer_index));
        if self.keeps_ngrams && columns > 0 {
            batch.with_ngrams(NGrams::new(&self.windows, self.max_order, columns))
        } else {
            batch
        }
    }

    pub(super) fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Token positions in the buffer.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Row ids of each position of a layer, of the one with the most where they differ; 0 if nothing has been hashed
    /// yet.
    pub fn columns(&self) -> usize {
        let columns = self.layers.iter().map(|layer| layer.columns);
        columns.max().unwrap_or(0)
    }

    /// Row ids of each position of the layer at `layer_index`.
    ///
    /// # Panics
    /// If `layer_index` is not below the number of layers.
    pub fn columns_of(&self, layer_index: usize) -> usize {
        self.layers[layer_index].columns
    }

    /// Row ids `[position][column]` of the layer at `layer_index`: what a lookup of that layer takes.
    ///
    /// # Panics
    /// If `layer_index` is not below the number of layers.
    pub fn layer(&self, layer_index: usize) -> &[RowId] {
        let layer = &self.layers[layer_index];
        let first = self.positions * layer.columns_before;
        &self.ids[first..][..self.positions * layer.columns]
    }

    /// Row ids `[column]` of one position of one layer.
    ///
    /// # Panics
    /// If `layer_index` or `position` is out of range.
    pub fn position(&self, layer_index: usize, position: usize) -> &[RowId] {
        let columns = self.columns_of(layer_index);
        &self.layer(layer_index)[position * columns..][..columns]
    }

    fn reshape(&mut self, max_order: u32, layers: &[LayerHasher], positions: usize) {
        let mut columns_before = 0;
        self.layers.clear();
        self.layers.extend(layers.iter().map(|layer| {
            let columns = layer.chosen.len();
            let rows = LayerRows {
                id: layer.id,
                columns_before,
                columns,
            };
            columns_before += columns;
            rows
        }));
        self.positions = positions;
        self.max_order = max_order as usize;
        self.ids.resize(positions * columns_before, RowId(0));
        if self.keeps_ngrams {
            self.windows.resize(positions * self.max_order, 0);
        }
    }
}

impl Hasher {
    /// Prepares `scheme`.
    ///
    /// # Errors
    /// What [`Scheme::validate`] refuses; a token map where the scheme hashes raw ids, none where it
    /// hashes compressed ones, or one with ids outside the scheme's vocabulary.
    pub fn new(scheme: Scheme, token_map: Option<TokenMap>) -> Result<Self, SchemeError> {
        scheme.validate()?;
        let name = || scheme.name.clone();
        match &token_map {
            None if scheme.compressed => {
                return Err(SchemeError::MissingTokenMap { scheme: name() });
            }
            Some(_) if !scheme.compressed => {
                return Err(SchemeError::UnusedTokenMap { scheme: name() });
            }
            _ => {}
        }
        if let Some(map) = &token_map {
            let largest = map.ids().iter().max().copied().unwrap_or(0);
            if largest >= scheme.hashed_vocab_size {
                return Err(SchemeError::Field {
                    field: "largest id of the token map",
                    found: largest.into(),
                    expected: format!("below {}", scheme.hashed_vocab_size),
                });
            }
        }
        let layers = (0..scheme.layers.len())
            .map(|index| LayerHasher::new(&scheme, index))
            .collect();
        Ok(Self {
            scheme,
            token_map,
            layers,
        })
    }

    /// The same hasher, which gives the rows of these columns alone: what a rank of a tensor-parallel model asks for.
    ///
    /// ```
    /// use engram_format::{Columns, Hasher, RowIds, SchemeName, Sequence};
    ///
    /// let hasher = Hasher::new(SchemeName::LongCatFlashLite.scheme(), None)?;
    /// let rank = hasher.clone().with_columns(&Columns::Rank { rank: 1, ranks: 4 })?;
    /// let (mut all, mut some) = (RowIds::new(), RowIds::new());
    /// hasher.extend(&mut Sequence::new(), &[5, 6, 7], &mut all)?;
    /// rank.extend(&mut Sequence::new(), &[5, 6, 7], &mut some)?;
    /// assert_eq!(some.position(0, 2), &all.position(0, 2)[3..6]); // [position][column of the rank]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Columns that the scheme has not.
    pub fn with_columns(mut self, columns: &Columns) -> Result<Self, ColumnsError> {
        let ranges = columns.ranges(&self.scheme)?;
        for (layer, range) in self.layers.iter_mut().zip(ranges) {
            let range = range.start as usize..range.end as usize;
            layer.choose(range, self.scheme.heads as usize);
        }
        Ok(self)
    }

    /// The scheme, which has all columns.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The columns of the layer at `layer_index` whose rows it gives, by their index among all of the layer.
    ///
    /// # Panics
    /// If `layer_index` is not below the number of layers.
    pub fn columns(&self, layer_index: usize) -> Range<usize> {
        self.layers[layer_index].chosen.clone()
    }

    /// The vocabulary compression, where the scheme has one.
    pub fn token_map(&self) -> Option<&TokenMap> {
        self.token_map.as_ref()
    }

    /// Appends `tokens` to `sequence` and writes their row ids to `out`.
    ///
    /// # Errors
    /// A token outside the vocabulary; then neither `sequence` nor `out` has changed.
    pub fn extend(
        &self,
        sequence: &mut Sequence,
        tokens: &[u32],
        out: &mut RowIds,
    ) -> Result<(), AddressError> {
        self.extend_batch(&mut [Request { sequence, tokens }], out)
    }

    /// Appends to many sequences at once; positions follow one another in the order of `requests`.
    ///
    /// Allocates only where `out` or a sequence must grow.
    ///
    /// # Errors
    /// A token outside the vocabulary; then neither any sequence nor `out` has changed.
    pub fn extend_batch(
        &self,
        requests: &mut [Request<'_>],
        out: &mut RowIds,
    ) -> Result<(), AddressError> {
        for (index, request) in requests.iter().enumerate() {
            self.check(index, request.tokens)?;
        }
        self.reshape(out, requests.iter().map(|r| r.tokens.len()).sum());
        let mut position = 0;
        for Request { sequence, tokens } in requests {
            let mut window = sequence.window(&self.scheme);
            for &token in *tokens {
                let id = self.hashed_id(token);
                sequence.ids.push(id);
                self.hash(&mut window, id, position, out);
                position += 1;
            }
        }
        Ok(())
    }

    /// The row ids that [`Self::extend`] would give, without appending.
    ///
    /// # Errors
    /// A token outside the vocabulary; then `out` has not changed.
    pub fn peek(
        &self,
        sequence: &Sequence,
        tokens: &[u32],
        out: &mut RowIds,
    ) -> Result<(), AddressError> {
        self.check(0, tokens)?;
        self.reshape(out, tokens.len());
        let mut window = sequence.window(&self.scheme);
        for (position, &token) in tokens.iter().enumerate() {
            self.hash(&mut window, self.hashed_id(token), position, out);
        }
        Ok(())
    }

    /// Appends `tokens` without hashing them, such as a prefix whose outcome is cached elsewhere.
    ///
    /// # Errors
    /// A token outside the vocabulary; then `sequence` has not changed.
    pub fn advance(&self, sequence: &mut Sequence, tokens: &[u32]) -> Result<(), AddressError> {
        self.check(0, tokens)?;
        sequence
            .ids
            .extend(tokens.iter().map(|&token| self.hashed_id(token)));
        Ok(())
    }

    /// Appends `tokens`, and calls `each` with the window of every one: N hashed ids, newest first. The first n
    /// are its n-gram of order n.
    ///
    /// # Errors
    /// A token outside the vocabulary; then `sequence` has not changed, and nothing was called.
    pub fn extend_windows(
        &self,
        sequence: &mut Sequence,
        tokens: &[u32],
        mut each: impl FnMut(&[u32]),
    ) -> Result<(), AddressError> {
        self.check(0, tokens)?;
        let reach = self.scheme.max_order as usize;
        let mut window = sequence.window(&self.scheme);
        for &token in tokens {
            let id = self.hashed_id(token);
            sequence.ids.push(id);
            each(&window.push(id, &self.scheme)[..reach]);
        }
        Ok(())
    }

    /// Writes the row ids of positions whose windows the caller has: `windows` is `[position][N]` of raw token ids,
    /// newest first, with N the scheme's `max_order`.
    ///
    /// No n-gram reaches a place for which `is_blocked` is true (it is given the index in `windows`), nor anything
    /// older: the place is dead, as with [`DEAD`], whatever token stands there. So are those before the start of a
    /// history, which have to be blocked or [`DEAD`]. Boundary tokens of the scheme do what they do in a sequence.
    ///
    /// ```
    /// use engram_format::{DEAD, Hasher, RowIds, SchemeName, Sequence};
    ///
    /// let hasher = Hasher::new(SchemeName::LongCatFlashLite.scheme(), None)?;
    /// let (mut by_sequence, mut by_windows) = (RowIds::new(), RowIds::new());
    /// hasher.extend(&mut Sequence::new(), &[5, 6], &mut by_sequence)?;
    /// hasher.hash_windows(&[5, DEAD, DEAD, DEAD, 6, 5, DEAD, DEAD], |_| false, &mut by_windows)?;
    /// assert_eq!(by_windows, by_sequence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Windows that are not whole, or a token outside the vocabulary in a place that is not blocked; then `out` has not
    /// changed.
    pub fn hash_windows(
        &self,
        windows: &[u32],
        is_blocked: impl Fn(usize) -> bool,
        out: &mut RowIds,
    ) -> Result<(), AddressError> {
        let reach = self.scheme.max_order as usize;
        if !windows.len().is_multiple_of(reach) {
            return Err(AddressError::WindowShape {
                ids: windows.len(),
                max_order: reach,
            });
        }
        let token_at = |index: usize| {
            if is_blocked(index) {
                DEAD
            } else {
                windows[index]
            }
        };
        let vocab_size = self.vocab_size();
        for index in 0..windows.len() {
            let token = token_at(index);
            if token as usize >= vocab_size && token != DEAD {
                return Err(AddressError::WindowTokenOutOfRange {
                    window: index / reach,
                    place: index % reach,
                    token,
                    vocab_size,
                });
            }
        }
        self.reshape(out, windows.len() / reach);
        for position in 0..out.positions {
            let mut window = Window::new(&self.scheme);
            for place in (1..reach).rev() {
                window.push(
                    self.hashed_id(token_at(position * reach + place)),
                    &self.scheme,
                );
            }
            let newest = self.hashed_id(token_at(position * reach));
            self.hash(&mut window, newest, position, out);
        }
        Ok(())
    }

    /// The row that `ngram`, hashed ids of the vocabulary, newest first, has in one column of the layer at
    /// `layer_index`.
    ///
    /// # Panics
    /// If there is no such layer or column, or the column is of another order.
    #[inline]
    pub fn ngram_row(&self, layer_index: usize, column: usize, ngram: &[u32]) -> RowId {
        let order = u32::try_from(column).map(|column| self.scheme.order_of(column));
        assert_eq!(
            Ok(ngram.len()),
            order.map(|order| order as usize),
            "an n-gram of the column's order"
        );
        self.layers[layer_index].row(column, ngram)
    }

    fn reshape(&self, out: &mut RowIds, positions: usize) {
        out.reshape(self.scheme.max_order, &self.layers, positions);
    }

    /// Raw token ids are below this.
    pub fn vocab_size(&self) -> usize {
        match &self.token_map {
            Some(map) => map.ids().len(),
            None => self.scheme.hashed_vocab_size as usize,
        }
    }

    fn check(&self, request: usize, tokens: &[u32]) -> Result<(), AddressError> {
        let vocab_size = self.vocab_size();
        let outside = |&token: &u32| token as usize >= vocab_size && token != DEAD;
        match tokens.iter().position(outside) {
            Some(position) => Err(AddressError::TokenOutOfRange {
                request,
                position,
                token: tokens[position],
                vocab_size,
            }),
            None => Ok(()),
        }
    }

    /// `token` has passed [`Self::check`].
    #[inline]
    fn hashed_id(&self, token: u32) -> u32 {
        match &self.token_map {
            Some(map) if token != DEAD => map.ids()[token as usize],
            _ => token,
        }
    }

    #[inline]
    fn hash(&self, window: &mut Window, id: u32, position: usize, out: &mut RowIds) {
        let window = window.push(id, &self.scheme);
        if out.keeps_ngrams {
            let reach = out.max_order;
            out.windows[position * reach..][..reach].copy_from_slice(&window[..reach]);
        }
        let positions = out.positions;
        let mut left = &mut out.ids[..];
        for layer in &self.layers {
            let columns = layer.chosen.len();
            let (ids, later) = left.split_at_mut(positions * columns);
            layer.hash(window, &mut ids[position * columns..][..columns]);
            left = later;
        }
    }
}

impl LayerHasher {
    fn new(scheme: &Scheme, index: usize) -> Self {
        let columns = scheme.columns(index).map(|column| ColumnHasher {
            buckets: Divisor::new(column.row_count),
            first_row: column.first_row,
        });
        let kind = match &scheme.layers[index].hash {
            HashRule::XorMultiply { multipliers } => {
                let mut places = [0; MAX_ORDER];
                places[..multipliers.len()].copy_from_slice(multipliers);
                Kind::XorMultiply {
                    multipliers: places,
                    first_order: scheme.first_order() as usize,
                }
            }
            HashRule::Polynomial { base } => {
                let columns = scheme.columns(index);
                let factors =
                    columns.map(|column| filled(&powers(*base, column.row_count, column.order)));
                Kind::PerColumn(Mix::Sum, factors.collect())
            }
            HashRule::PerColumn { mix, factors } => Kind::PerColumn(
                *mix,
                factors.iter().map(|factors| filled(factors)).collect(),
            ),
        };
        let mut layer = Self {
            id: scheme.layers[index].id,
            kind,
            columns: columns.collect(),
            chosen: 0..0,
            chosen_of_orders: Vec::new(),
        };
        layer.choose(0..scheme.column_count(), scheme.heads as usize);
        layer
    }

    /// Chooses the columns that are hashed.
    fn choose(&mut self, chosen: Range<usize>, heads: usize) {
        let first_columns = (0..chosen.end).step_by(heads);
        let of_orders = first_columns.map(|first| {
            let end = chosen.end.min(first + heads);
            end.saturating_sub(chosen.start.max(first))
        });
        self.chosen_of_orders = of_orders.collect();
        self.chosen = chosen;
    }

    #[inline]
    fn hash(&self, window: &[u32; MAX_ORDER], out: &mut [RowId]) {
        let mut columns = &self.columns[self.chosen.clone()];
        match &self.kind {
            Kind::XorMultiply {
                multipliers,
                first_order,
            } => {
                // Of place 0 nothing is mixed where the first order is 1, else the newest id.
                let mut hash = match first_order {
                    1 => 0,
                    _ => u64::from(window[0]) * multipliers[0],
                };
                let mut out = out;
                let places = first_order - 1..MAX_ORDER;
                for (place, &chosen) in places.zip(&self.chosen_of_orders) {
                    hash ^= u64::from(window[place]) * multipliers[place];
                    let (of_order, later) = columns.split_at(chosen);
                    let (ids, rest) = out.split_at_mut(chosen);
                    for (column, id) in of_order.iter().zip(ids) {
                        id.0 = column.buckets.rem(hash) + column.first_row;
                    }
                    (columns, out) = (later, rest);
                }
            }
            Kind::PerColumn(mix, factors) => {
                let factors = &factors[self.chosen.clone()];
                for ((column, factors), id) in columns.iter().zip(factors).zip(out) {
                    id.0 = column.buckets.rem(mixed(*mix, window, factors)) + column.first_row;
                }
            }
        }
    }

    #[inline]
    fn row(&self, column: usize, ngram: &[u32]) -> RowId {
        let (mix, factors) = match &self.kind {
            Kind::XorMultiply { multipliers, .. } => (Mix::Xor, multipliers),
            Kind::PerColumn(mix, factors) => (*mix, &factors[column]),
        };
        let hash = mixed(mix, ngram, factors);
        let column = &self.columns[column];
        RowId(column.buckets.rem(hash) + column.first_row)
    }
}

/// The hash of `ids`, each with its factor.
#[inline]
fn mixed(mix: Mix, ids: &[u32], factors: &[u64; MAX_ORDER]) -> u64 {
    let terms = ids.iter().zip(factors);
    let terms = terms.map(|(&id, &factor)| u64::from(id) * factor);
    match mix {
        Mix::Sum => terms.sum(),
        Mix::Xor => terms.fold(0, |hash, term| hash ^ term),
    }
}

/// `factors`, and 0 for places that an order does not reach.
fn filled(factors: &[u64]) -> [u64; MAX_ORDER] {
    let mut places = [0; MAX_ORDER];
    places[..factors.len()].copy_from_slice(factors);
    places
}
