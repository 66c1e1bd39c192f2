//! Tests of the whole command and of the workspace's shape.

mod architecture;
