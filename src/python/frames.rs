//! The walk over the frames of one thread, written once for all versions.
//!
//! It is naive and reads one field after the other; `Prefetch` makes that cheap. What it asks for with which
//! [`Sight`] is what makes a stack of a running thread right: the chain and the callers' positions must hold still
//! around the moment for which the innermost frame was read, and only that frame's own position may move.

use super::layout::{Copies, CurrentFrame, Frame, Layout, Position};
use crate::memory::{Addr, Gather, Memory, Miss, Word};
use crate::prefetch::{Item, Items, Prefetch, SHALLOW, STILL_FRAMES, Sight};
use crate::table::List;

/// A frame as it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its code object.
    pub code: Addr,
    /// Byte offset of the instruction that it is at, from the start of the bytecode. Negative before the first.
    pub position: i64,
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// At the outermost frame.
    Whole,
    /// At the end of the storage for frames, or before those that are left out.
    Cut,
}

/// Puts the frames of thread state `thread` into `frames`, the innermost first, as they were at the moment that
/// `prefetch` looks at. `moves`: whether they can have changed while it read. Errors: `Moved` when that cannot be said,
/// others when what is there is no chain of frames.
pub fn walk<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    (thread, moves): (Addr, bool),
    frames: &mut List<Seen>,
) -> Result<End, Miss> {
    frames.truncate(0);
    let head = Head::of(&layout.frame);
    // Still, or the pointer could be read from a _PyCFrame that is no longer the current one.
    let sight = if moves { Sight::Still(0) } else { Sight::Deep };
    let mut next = innermost(prefetch, layout, thread, sight)?;
    let mut depth = 0;
    let most = if prefetch.is_shallow() { SHALLOW } else { MAX_STEPS };
    // The last frame, if it is a shim.
    let mut shim = None;
    while let Some(frame) = next {
        if depth == most {
            return if most == MAX_STEPS { Err(Miss::Endless) } else { Ok(End::Cut) };
        }
        let sight = if moves && depth <= STILL_FRAMES { Sight::Still(depth as u8) } else { Sight::Deep };
        let step = read_frame(prefetch, layout, &head, frame, sight)?;
        // The oldest frame that is seen twice is on the other side of the line as well: what is below it held still
        // from the reading of the deep frames on, because this one did.
        let is_edge = moves && depth == STILL_FRAMES && !prefetch.is_glimpse();
        if is_edge && read_frame(prefetch, layout, &head, frame, Sight::Edge)? != step {
            return Err(Miss::Moved);
        }
        shim = Some(frame).filter(|_| step.seen.is_none());
        if let Some(seen) = step.seen
            && frames.push(seen).is_err()
        {
            return Ok(End::Cut);
        }
        next = step.previous;
        depth += 1;
    }
    // Where C code enters Python through a shim, one is the outermost frame. A generator that is just being left has
    // lost its caller already while it still is the innermost frame (3.12 shows that even to a stop). And what is left of a
    // shim on the C stack has no caller, and none above it.
    let is_whole = match (layout.frame.base, shim) {
        _ if depth == 0 || layout.frame.owner.is_none() => true,
        (Some(base), shim) => shim == Some(prefetch.with(Sight::Once).load(thread, base)?),
        (None, shim) => shim.is_some() && (!moves || !frames.is_empty()),
    };
    if is_whole { Ok(End::Whole) } else { Err(Miss::Moved) }
}

/// Frames of a stack, the ones to skip included: more than the storage for frames holds. Shims take no place in that, so it
/// alone does not bound the walk.
const MAX_STEPS: usize = 1 << 16;

fn innermost<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    thread: Addr,
    sight: Sight,
) -> Result<Option<Addr>, Miss> {
    match layout.current_frame {
        CurrentFrame::InThread(field) => prefetch.with(Sight::Once).load(thread, field),
        CurrentFrame::InCFrame { cframe, current } => {
            let cframe = prefetch.with(sight).load(thread, cframe)?;
            prefetch.with(Sight::Once).load(cframe, current)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Step {
    seen: Option<Seen>,
    previous: Option<Addr>,
}

/// The words of a frame that a walk needs, to be read together: the caller, the code, the position, the owner, and
/// which copy of the bytecode it runs. The last two are not in all layouts; then nobody asks for what they say.
struct Head(Items<5>);

impl Head {
    fn of(frame: &Frame) -> Head {
        let previous = Item::of(frame.previous);
        let (position, copy) = match frame.position {
            Position::Index { lasti, .. } => (Item::moving(lasti), previous),
            Position::Pointer { instruction, copies, .. } => {
                (Item::moving(instruction), copies.map_or(previous, |copies| Item::of(copies.index)))
            }
        };
        let owner = frame.owner.map_or(previous, |owner| Item::of(owner.field));
        let used = match frame.position {
            Position::Pointer { copies: Some(_), .. } => 5,
            _ if frame.owner.is_some() => 4,
            _ => 3,
        };
        Head(Items::new([previous, Item::of(frame.code), position, owner, copy], used))
    }
}

fn read_frame<M: Gather>(
    prefetch: &Prefetch<M>,
    layout: &Layout,
    head: &Head,
    frame: Addr,
    sight: Sight,
) -> Result<Step, Miss> {
    let fields = &layout.frame;
    // The innermost frame moves from instruction to instruction while it lives.
    let innermost = sight == Sight::Still(0);
    let [previous, code, position, owner, copy] = prefetch.words(sight, frame, &head.0, innermost)?;
    let previous = Word::from_raw(previous);
    // An object where a frame was: behind the count is its type there, and the type of all types is its own.
    if previous == Some(frame) {
        return Err(Miss::Moved);
    }
    if fields.owner.is_some_and(|is| owner >= is.shim.into()) {
        return Ok(Step { seen: None, previous });
    }
    let code = Addr(code & !u64::from(fields.tag_mask));
    if code.0 == 0 {
        return Err(Miss::Moved); // a frame that is being cleared or made
    }
    let position = match fields.position {
        Position::Index { unit, .. } => i64::from(position as i32) * i64::from(unit),
        Position::Pointer { bytecode, copies: None, .. } => {
            Addr(position).from_base(code.plus(bytecode.into()))
        }
        Position::Pointer { copies: Some(copies), .. } => {
            let start = copy_in_use(&prefetch.with(Sight::Proof), copies, code, copy as i32)?;
            Addr(position).from_base(start)
        }
    };
    Ok(Step { seen: Some(Seen { code, position }), previous })
}

/// Where the copy of the bytecode begins that a frame runs (`_PyFrame_GetBytecode`, pycore_interpframe.h): the array
/// holds a length and then pointers.
fn copy_in_use<M: Memory>(memory: &M, copies: Copies, code: Addr, index: i32) -> Result<Addr, Miss> {
    let array = memory.load(code, copies.array)?;
    let size = memory.word::<i64>(array)?;
    if index < 0 || i64::from(index) >= size {
        return Err(Miss::Nonsense);
    }
    memory.word(array.plus(8 + 8 * index as u64))
}

#[cfg(test)]
mod tests;
