//! Which members of a row are columns: their names, and where a path goes on below one. It reads no record.

use std::collections::HashMap;

/// Nodes by their place; the first is the row's own object.
#[derive(Clone, Debug)]
pub(in crate::formats::record) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    leaves: Vec<Leaf>,
    by_name: HashMap<String, usize>,
}

/// A member that somebody wants.
#[derive(Clone, Debug, Default)]
pub(in crate::formats::record) struct Leaf {
    /// Whose value it is.
    pub(in crate::formats::record) columns: Vec<usize>,
    /// The node that its own members stand in.
    pub(in crate::formats::record) below: Option<usize>,
}

impl Tree {
    pub(in crate::formats::record) fn new<'p>(paths: impl Iterator<Item = &'p [String]>) -> Self {
        let mut tree = Self { nodes: vec![Node::default()] };
        for (column, path) in paths.enumerate() {
            let mut node = 0;
            for (at, name) in path.iter().enumerate() {
                let leaf = tree.leaf_of(node, name);
                let last = at + 1 == path.len();
                let next = tree.nodes.len();
                let Some(leaf) = tree.nodes.get_mut(node).and_then(|node| node.leaves.get_mut(leaf)) else { break };
                if last {
                    leaf.columns.push(column);
                } else {
                    let below = *leaf.below.get_or_insert(next);
                    if below == next {
                        tree.nodes.push(Node::default());
                    }
                    node = below;
                }
            }
        }
        tree
    }

    fn leaf_of(&mut self, node: usize, name: &str) -> usize {
        let Some(node) = self.nodes.get_mut(node) else { return 0 };
        if let Some(leaf) = node.by_name.get(name) {
            return *leaf;
        }
        node.leaves.push(Leaf::default());
        node.by_name.insert(name.to_owned(), node.leaves.len() - 1);
        node.leaves.len() - 1
    }

    pub(in crate::formats::record) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(in crate::formats::record) fn find(&self, node: usize, name: &str) -> Option<usize> {
        self.nodes.get(node)?.by_name.get(name).copied()
    }

    pub(in crate::formats::record) fn leaf(&self, node: usize, leaf: usize) -> Option<&Leaf> {
        self.nodes.get(node)?.leaves.get(leaf)
    }
}
