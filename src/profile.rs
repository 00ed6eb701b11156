//! What was sampled: names, functions, and a prefix tree of stacks with a count at each node, all in fixed storage.
//! Knows neither Python nor how a profile is written down. What does not fit is counted where it can be seen, so the
//! totals are always right. [`finished`] brings it into the order in which it is written.

pub mod finished;

use crate::table::{Full, Index, List, hash_bytes, hash_words, head};

/// A function: the names of its file and of itself.
#[derive(Clone, Copy)]
pub struct Function {
    /// Name of the file, a number in [`Names`].
    pub file: u32,
    /// Name of the function, likewise.
    pub name: u32,
}

/// A step of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Frame {
    /// Number of the function.
    pub function: u32,
    /// Line that it is at; 0 when it is not known or not wanted; [`PROCESS`] or [`THREAD`].
    pub line: u32,
}

impl Frame {
    /// Whether it stands for a process or a thread.
    pub fn is_root(self) -> bool {
        self.line >= THREAD
    }
}

/// The line of a frame that stands for a process: its title is what is the file of others.
pub const PROCESS: u32 = u32::MAX;

/// The same for a thread. It stands above its process.
pub const THREAD: u32 = u32::MAX - 1;

/// A stack is a path from the root to one of these.
#[derive(Clone, Copy)]
pub struct Node {
    /// The caller's node; itself for the root.
    pub parent: u32,
    /// What is called.
    pub frame: Frame,
    /// Frames from the root to this one.
    pub depth: u32,
    /// Samples whose innermost frame this is.
    pub count: u64,
}

/// Where each name is in the bytes.
#[derive(Clone, Copy)]
pub struct NameSpan {
    start: u32,
    len: u32,
}

/// Names, each kept once.
pub struct Names {
    bytes: List<u8>,
    spans: List<NameSpan>,
    index: Index,
}

impl Names {
    /// The number of `name`.
    pub fn intern(&mut self, name: &[u8]) -> Result<u32, Full> {
        let hash = hash_bytes(name);
        if let Some(id) = self.index.find(hash, |id| self.get(id) == name) {
            return Ok(id);
        }
        let start = self.bytes.len() as u32;
        let id = name.iter().try_for_each(|&byte| self.bytes.push(byte).map(drop));
        let id = id.and_then(|()| self.spans.push(NameSpan { start, len: name.len() as u32 }));
        let id = id.inspect_err(|_| self.bytes.truncate(start as usize))?;
        let (bytes, spans) = (self.bytes.items(), self.spans.items());
        self.index.insert(hash, id, &|id| hash_bytes(slice(bytes, spans, id)))?;
        Ok(id)
    }

    /// The bytes of name `id`.
    pub fn get(&self, id: u32) -> &[u8] {
        slice(self.bytes.items(), self.spans.items(), id)
    }
}

fn slice<'a>(bytes: &'a [u8], spans: &[NameSpan], id: u32) -> &'a [u8] {
    let Some(span) = spans.get(id as usize) else { return &[] };
    bytes.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
}

/// Samples that gave no stack, and what did not fit.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Samples taken, the ones below included.
    pub samples: u64,
    /// Deadlines at which any were: of several processes each gives one.
    pub rounds: u64,
    /// Nobody ran Python.
    pub idle: u64,
    /// No stack could be proven right.
    pub failed: u64,
    /// Deadlines that passed while the one before was still being served.
    pub missed: u64,
    /// Samples with a stack that did not fit into the tree.
    pub truncated: u64,
    /// Names that did not fit.
    pub names_full: u64,
    /// Samples for which a thread was stopped.
    pub stopped: u64,
}

/// The fixed storage of a [`Profile`]. The indexes are powers of two and hold a quarter as many items.
pub struct Storage {
    /// All names, one behind the other.
    pub name_bytes: &'static mut [u8],
    /// A place for each name.
    pub name_spans: &'static mut [NameSpan],
    /// Names by content.
    pub name_index: &'static mut [u32],
    /// Functions.
    pub functions: &'static mut [Function],
    /// Functions by names.
    pub function_index: &'static mut [u32],
    /// The tree.
    pub nodes: &'static mut [Node],
    /// Nodes by parent and frame.
    pub node_index: &'static mut [u32],
    /// The last stack, from the root: as long as the deepest stack can be.
    pub last: &'static mut [(Frame, u32)],
}

/// The profile.
pub struct Profile {
    /// Samples without a stack.
    pub counts: Counts,
    names: Names,
    functions: List<Function>,
    function_index: Index,
    nodes: List<Node>,
    node_index: Index,
    last: List<(Frame, u32)>,
}

/// The node from which all stacks start.
pub const ROOT: u32 = 0;

/// What it is before anything is counted.
static EMPTY: Node = Node { parent: ROOT, frame: Frame { function: 0, line: 0 }, depth: 0, count: 0 };

impl Profile {
    /// An empty profile. Its storage holds at least the root and one function.
    pub fn new(storage: Storage) -> Profile {
        let mut profile = Profile {
            counts: Counts::default(),
            names: Names {
                bytes: List::new(storage.name_bytes),
                spans: List::new(storage.name_spans),
                index: Index::new(storage.name_index),
            },
            functions: List::new(storage.functions),
            function_index: Index::new(storage.function_index),
            nodes: List::new(storage.nodes),
            node_index: Index::new(storage.node_index),
            last: List::new(storage.last),
        };
        let _ = profile.function(b"", b"(names full)");
        let _ = profile.nodes.push(EMPTY);
        profile
    }

    /// The number of the function `name` of `file`; of one called `(names full)` when there is no room for it.
    pub fn function(&mut self, file: &[u8], name: &[u8]) -> u32 {
        self.intern_function(file, name).unwrap_or_else(|Full| {
            self.counts.names_full += 1;
            0
        })
    }

    fn intern_function(&mut self, file: &[u8], name: &[u8]) -> Result<u32, Full> {
        let (file, name) = (self.names.intern(file)?, self.names.intern(name)?);
        let hash = |f: &Function| hash_words(&[u64::from(f.file) << 32 | u64::from(f.name)]);
        let new = Function { file, name };
        let functions = self.functions.items();
        let same = |id: u32| functions.get(id as usize).is_some_and(|f| f.file == file && f.name == name);
        if let Some(id) = self.function_index.find(hash(&new), same) {
            return Ok(id);
        }
        let id = self.functions.push(new)?;
        let functions = self.functions.items();
        self.function_index.insert(hash(&new), id, &|id| functions.get(id as usize).map_or(0, hash))?;
        Ok(id)
    }

    /// How many names there are.
    pub fn names(&self) -> u32 {
        self.names.spans.len() as u32
    }

    /// Name `id`.
    pub fn name(&self, id: u32) -> &[u8] {
        self.names.get(id)
    }

    /// All functions.
    pub fn functions(&self) -> &[Function] {
        self.functions.items()
    }

    /// File and name of function `id`.
    pub fn function_names(&self, id: u32) -> (&[u8], &[u8]) {
        let Some(function) = self.functions.get(id) else { return (&[], &[]) };
        (self.names.get(function.file), self.names.get(function.name))
    }

    /// Gives `process`, a frame that stands for one, or will when its function is 0, this title: also in what was
    /// counted before.
    pub fn entitle(&mut self, process: &mut Frame, title: &[u8]) {
        if process.function == 0 {
            *process = self.titled(title, PROCESS);
        } else if let (Ok(file), Some(function)) =
            (self.names.intern(title), self.functions.get_mut(process.function))
        {
            function.file = file;
        }
    }

    /// A frame that stands for what is called `title`: a [`PROCESS`] or a [`THREAD`]. Where there is no room for its name,
    /// it is one of a function.
    pub fn titled(&mut self, title: &[u8], line: u32) -> Frame {
        let function = self.function(title, b"");
        Frame { function, line: if function == 0 { 0 } else { line } }
    }

    /// Adds `by` samples to the stack of `frames`, from the root: its node. What does not fit is counted as truncated.
    pub fn count(&mut self, frames: impl Iterator<Item = Frame>, by: u64) -> Option<u32> {
        let id = self.node_of(frames, true).ok();
        self.add(id, by);
        id
    }

    /// Whether the stack of `frames`, from the root, is that of a sample, or the beginning of one.
    pub fn has(&mut self, frames: impl Iterator<Item = Frame>) -> bool {
        self.node_of(frames, false).is_ok()
    }

    /// The same for a stack of nothing but the function `name`, which is in no file.
    pub fn count_alone(&mut self, name: &[u8], by: u64) {
        let function = self.function(b"", name);
        let id = self.child(ROOT, Frame { function, line: 0 }, true).ok();
        self.add(id, by);
    }

    fn add(&mut self, id: Option<u32>, by: u64) {
        match id.and_then(|id| self.nodes.get_mut(id)) {
            Some(node) => node.count += by,
            None => self.counts.truncated += by,
        }
    }

    /// Makes a sample that was counted at node `id` one that failed.
    pub fn take_back(&mut self, id: u32) {
        if let Some(node) = self.nodes.get_mut(id).filter(|node| node.count > 0) {
            node.count -= 1;
            self.counts.failed += 1;
        }
    }

    /// Whether `function` is in the stack of node `id`.
    pub fn is_in(&self, function: u32, mut id: u32) -> bool {
        while id != ROOT {
            let node = self.node(id);
            if node.frame.function == function {
                return true;
            }
            id = node.parent;
        }
        false
    }

    /// The node of a stack; where there is none, one is made if they `grow`. Follows the last stack as far as both are the
    /// same.
    fn node_of(&mut self, frames: impl Iterator<Item = Frame>, grow: bool) -> Result<u32, Full> {
        let (mut node, mut depth, mut same) = (ROOT, 0, true);
        for frame in frames {
            match self.last.items().get(depth) {
                Some(&(last, id)) if same && last == frame => node = id,
                _ => {
                    if same {
                        self.last.truncate(depth);
                        same = false;
                    }
                    node = self.child(node, frame, grow)?;
                    let _ = self.last.push((frame, node));
                }
            }
            depth += 1;
        }
        self.last.truncate(depth);
        Ok(node)
    }

    fn child(&mut self, parent: u32, frame: Frame, grow: bool) -> Result<u32, Full> {
        let hash = |parent: u32, frame: Frame| {
            hash_words(&[u64::from(parent) << 32 | u64::from(frame.function), u64::from(frame.line)])
        };
        let nodes = self.nodes.items();
        let same = |id: u32| nodes.get(id as usize).is_some_and(|n| n.parent == parent && n.frame == frame);
        if let Some(id) = self.node_index.find(hash(parent, frame), same) {
            return Ok(id);
        }
        if !grow {
            return Err(Full);
        }
        let depth = nodes.get(parent as usize).map_or(0, |node| node.depth) + 1;
        let id = self.nodes.push(Node { parent, frame, depth, count: 0 })?;
        let nodes = self.nodes.items();
        let hash_of = |id: u32| nodes.get(id as usize).map_or(0, |n| hash(n.parent, n.frame));
        self.node_index.insert(hash(parent, frame), id, &hash_of)?;
        Ok(id)
    }

    /// All nodes; a node comes behind its parent.
    pub fn nodes(&self) -> &[Node] {
        self.nodes.items()
    }

    /// Node `id`; the root for a number that is none.
    pub fn node(&self, id: u32) -> &Node {
        self.nodes.get(id).unwrap_or(&EMPTY)
    }

    /// Makes `count` that of node `id`.
    pub fn set_count(&mut self, id: u32, count: u64) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.count = count;
        }
    }

    /// The nodes from the first frame of a stack to node `id`, put into `path`: as many as fit.
    pub fn path<'a>(&self, mut id: u32, path: &'a mut [u32]) -> &'a [u32] {
        let length = self.node(id).depth as usize;
        while let Some(at) = (self.node(id).depth as usize).checked_sub(1) {
            if let Some(place) = path.get_mut(at) {
                *place = id;
            }
            id = self.node(id).parent;
        }
        head(path, length)
    }

    /// The ancestor of node `id` that has `depth` frames; itself if it has no more.
    pub fn ancestor(&self, mut id: u32, depth: u32) -> u32 {
        while self.node(id).depth > depth {
            id = self.node(id).parent;
        }
        id
    }
}

#[cfg(test)]
mod tests;
