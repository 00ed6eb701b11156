//! A profile to which nothing is added any more: its stacks in order, and its frames and nodes numbered as formats need
//! it. Takes the storage of the index of nodes, which has four words for each, so nothing is allocated.

use super::{Frame, Node, Profile, ROOT};
use crate::table::{Index, List, sort};
use core::cmp::Ordering;

/// A profile that is finished.
pub struct Finished<'a> {
    /// What was counted.
    pub profile: &'a mut Profile,
    /// The nodes with samples, in order.
    stacks: List<u32>,
    /// Some nodes, in another order.
    others: List<u32>,
    /// A number for each node.
    numbers: &'static mut [u32],
    /// The nodes of a stack, from the root.
    path: &'static mut [u32],
}

/// A stack of a finished profile.
pub struct Stack<'a> {
    /// Its nodes, from the root to the innermost.
    pub nodes: &'a [u32],
    /// The innermost of them.
    pub last: u32,
    /// How many of them are those of the stack before.
    pub shared: usize,
    /// The number of each node of the profile.
    numbers: &'a [u32],
}

impl Stack<'_> {
    /// The number of the frame of node `id`, once frames have numbers.
    pub fn number(&self, id: u32) -> u32 {
        self.numbers.get(id as usize).copied().unwrap_or(0)
    }
}

/// Which of two different frames of the same caller comes first. With each, whether the stack ends there.
pub type Order<'a> = &'a dyn Fn(&Profile, (Frame, bool), (Frame, bool)) -> Ordering;

/// By the names of file and function, then by line.
pub fn by_names(profile: &Profile, a: (Frame, bool), b: (Frame, bool)) -> Ordering {
    let names = |frame: Frame| profile.function_names(frame.function);
    names(a.0).cmp(&names(b.0)).then(a.0.line.cmp(&b.0.line))
}

impl Profile {
    /// Puts the stacks in order; one comes before those that it is the beginning of.
    pub fn finish(&mut self, order: Order<'_>) -> Finished<'_> {
        let storage = core::mem::replace(&mut self.node_index, Index::new(&mut [])).into_storage();
        let quarter = storage.len() / 4;
        let (stacks, rest) = storage.split_at_mut(quarter);
        let (others, rest) = rest.split_at_mut(quarter);
        let (numbers, path) = rest.split_at_mut(quarter);
        let mut stacks = List::new(stacks);
        let counted = self.nodes.items().iter().enumerate().filter(|(_, node)| node.count > 0);
        for (id, _) in counted {
            let _ = stacks.push(id as u32); // there are as many places as nodes
        }
        sort(stacks.items_mut(), &|a, b| self.compare(a, b, order).is_lt());
        Finished { profile: self, stacks, others: List::new(others), numbers, path }
    }

    fn compare(&self, a: u32, b: u32, order: Order<'_>) -> Ordering {
        let depth = self.node(a).depth.min(self.node(b).depth);
        let (mut x, mut y) = (self.ancestor(a, depth), self.ancestor(b, depth));
        if x == y {
            return self.node(a).depth.cmp(&self.node(b).depth);
        }
        while self.node(x).parent != self.node(y).parent {
            (x, y) = (self.node(x).parent, self.node(y).parent);
        }
        order(self, (self.node(x).frame, x == a), (self.node(y).frame, y == b))
    }
}

impl Finished<'_> {
    /// The nodes with samples, in order.
    pub fn stacks(&self) -> &[u32] {
        self.stacks.items()
    }

    /// Calls `visit` with each stack from number `first` to before number `end`.
    pub fn each(&mut self, first: usize, end: usize, visit: &mut dyn FnMut(&mut Profile, Stack<'_>)) {
        let Finished { profile, stacks, path, numbers, .. } = self;
        let mut depth = 0;
        for &id in stacks.items().get(first..end).unwrap_or_default() {
            let (mut node, mut at) = (id, profile.node(id).depth as usize);
            let before = core::mem::replace(&mut depth, at);
            while let Some(place) = at.checked_sub(1).and_then(|last| path.get_mut(last)) {
                if at <= before && *place == node {
                    break;
                }
                *place = node;
                node = profile.node(node).parent;
                at -= 1;
            }
            let nodes = path.get(..depth).unwrap_or_default();
            visit(profile, Stack { nodes, last: id, shared: at, numbers });
        }
    }

    /// The same for all stacks.
    pub fn each_stack(&mut self, visit: &mut dyn FnMut(&mut Profile, Stack<'_>)) {
        self.each(0, self.stacks.len(), visit);
    }

    /// Adds to the count of each node those of all nodes above it. The sum of all.
    pub fn add_up(&mut self) -> u64 {
        let nodes = self.profile.nodes.items_mut();
        for id in (1..nodes.len()).rev() {
            let Node { parent, count, .. } = nodes[id];
            if let Some(parent) = nodes.get_mut(parent as usize) {
                parent.count += count;
            }
        }
        self.profile.node(ROOT).count
    }

    /// Gives nodes with equal frames the same number, from 0 on, and calls `visit` with each frame in the order of the
    /// numbers.
    pub fn number_frames(&mut self, visit: &mut dyn FnMut(&Profile, u32, Frame)) {
        let key = |node: &Node| (node.frame.function, node.frame.line);
        self.sort_others(&|node, _| key(node));
        let mut last = None;
        let mut number = u32::MAX;
        for &id in self.others.items() {
            let node = self.profile.node(id);
            if last.replace(key(node)) != Some(key(node)) {
                number = number.wrapping_add(1);
                visit(self.profile, number, node.frame);
            }
            if let Some(place) = self.numbers.get_mut(id as usize) {
                *place = number;
            }
        }
    }

    /// Calls `visit` with each node, and with those that have it for their caller.
    pub fn each_node(&mut self, visit: &mut dyn FnMut(&Profile, u32, &[u32])) {
        self.sort_others(&|node, id| (node.parent, id));
        let mut rest = self.others.items();
        for id in 0..self.profile.nodes.len() as u32 {
            let own = rest.iter().take_while(|&&child| self.profile.node(child).parent == id).count();
            let (children, others) = rest.split_at(own);
            rest = others;
            visit(self.profile, id, children);
        }
    }

    /// All nodes but the root, by `key`.
    fn sort_others(&mut self, key: &dyn Fn(&Node, u32) -> (u32, u32)) {
        self.others.truncate(0);
        for id in 1..self.profile.nodes.len() as u32 {
            let _ = self.others.push(id); // there are as many places as nodes
        }
        let key = |id| key(self.profile.node(id), id);
        sort(self.others.items_mut(), &|a, b| key(a) < key(b));
    }
}
