//! What a statement may take of the memory pool outside the operators that ask by themselves. The language's kernels find
//! it in their environment; a state made for one statement carries that statement's own. It allocates nothing.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericByteArray, GenericByteViewArray, GenericListArray, OffsetSizeTrait,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{ByteArrayType, ByteViewType, DataType};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

use crate::error::Result;
use crate::sql::kernel::{Memory, Reserved};

/// One statement's.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pool: Arc<dyn MemoryPool>,
    /// Large constants that were computed while it was planned stay in its plan to the end.
    constants: Arc<MemoryReservation>,
}

impl Budget {
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let constants = Arc::new(MemoryConsumer::new("constants").register(pool));
        Self { pool: Arc::clone(pool), constants }
    }

    /// 53200 where the pool has not so much left.
    pub(crate) fn reserve(&self, maker: &str, bytes: usize) -> DataFusionResult<MemoryReservation> {
        let reservation = MemoryConsumer::new(maker).register(&self.pool);
        reservation.try_grow(bytes)?;
        Ok(reservation)
    }
}

/// The language's kernels ask here.
impl Memory for Budget {
    fn reserve(&self, bytes: usize) -> Result<Box<dyn Reserved>> {
        Ok(Box::new(Share(Self::reserve(self, "function", bytes)?)))
    }

    fn keep(&self, bytes: usize) -> Result<()> {
        Ok(self.constants.try_grow(bytes)?)
    }
}

#[derive(Debug)]
struct Share(MemoryReservation);

impl Reserved for Share {
    fn grow(&mut self, bytes: usize) -> Result<()> {
        Ok(self.0.try_grow(bytes)?)
    }

    fn attach(self: Box<Self>, array: ArrayRef) -> Result<ArrayRef> {
        self.0.try_resize(array.get_array_memory_size())?;
        Ok(accounted(array, self.0)?)
    }
}

/// The same array; `reservation` is given back when the last one lets go of its bytes.
pub(crate) fn accounted(array: ArrayRef, reservation: MemoryReservation) -> DataFusionResult<ArrayRef> {
    held(array, &Arc::new(reservation))
}

fn held(array: ArrayRef, share: &Arc<MemoryReservation>) -> DataFusionResult<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8 => Arc::new(bytes(array.as_string::<i32>().clone(), share)?),
        DataType::LargeUtf8 => Arc::new(bytes(array.as_string::<i64>().clone(), share)?),
        DataType::Binary => Arc::new(bytes(array.as_binary::<i32>().clone(), share)?),
        DataType::LargeBinary => Arc::new(bytes(array.as_binary::<i64>().clone(), share)?),
        DataType::Utf8View => Arc::new(views(array.as_string_view().clone(), share)?),
        DataType::BinaryView => Arc::new(views(array.as_binary_view().clone(), share)?),
        DataType::List(_) => Arc::new(list(array.as_list::<i32>().clone(), share)?),
        DataType::LargeList(_) => Arc::new(list(array.as_list::<i64>().clone(), share)?),
        _ => array,
    })
}

fn bytes<T: ByteArrayType>(
    array: GenericByteArray<T>,
    share: &Arc<MemoryReservation>,
) -> DataFusionResult<GenericByteArray<T>> {
    let (offsets, values, nulls) = array.into_parts();
    Ok(GenericByteArray::try_new(offsets, shared(values, share), nulls)?)
}

fn views<T: ByteViewType + ?Sized>(
    array: GenericByteViewArray<T>,
    share: &Arc<MemoryReservation>,
) -> DataFusionResult<GenericByteViewArray<T>> {
    let (views, buffers, nulls) = array.into_parts();
    let buffers: Vec<Buffer> = buffers.iter().map(|buffer| shared(buffer.clone(), share)).collect();
    Ok(GenericByteViewArray::try_new(views, buffers, nulls)?)
}

fn list<O: OffsetSizeTrait>(
    array: GenericListArray<O>,
    share: &Arc<MemoryReservation>,
) -> DataFusionResult<GenericListArray<O>> {
    let (field, offsets, values, nulls) = array.into_parts();
    Ok(GenericListArray::try_new(field, offsets, held(values, share)?, nulls)?)
}

fn shared(buffer: Buffer, share: &Arc<MemoryReservation>) -> Buffer {
    struct Owner {
        buffer: Buffer,
        _share: Arc<MemoryReservation>,
    }
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.buffer.as_slice()
        }
    }
    Buffer::from(bytes::Bytes::from_owner(Owner { buffer, _share: Arc::clone(share) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use arrow::array::{ListArray, StringArray};
    use arrow::datatypes::{Field, Int32Type};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn what_an_array_was_given_comes_back_with_its_last_slice() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let budget = Budget::new(&pool);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "bc"]));
        let lists: ArrayRef = Arc::new(ListArray::new(
            Arc::new(Field::new("item", DataType::Utf8, true)),
            arrow::buffer::OffsetBuffer::from_lengths([2]),
            Arc::clone(&texts),
            None,
        ));
        for array in [texts, lists] {
            let kept =
                accounted(Arc::clone(&array), budget.reserve("test", 1_000).expect("there is room")).expect("valid");
            assert_eq!(&kept, &array);
            let slice = kept.slice(0, 1);
            drop(kept);
            assert_eq!(pool.reserved(), 1_000);
            drop(slice);
            assert_eq!(pool.reserved(), 0);
        }
        let numbers: ArrayRef = Arc::new(arrow::array::PrimitiveArray::<Int32Type>::from(vec![1]));
        accounted(numbers, budget.reserve("test", 1_000).expect("there is room")).expect("valid");
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn constants_are_of_the_pool_too() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1_000));
        let budget = Budget::new(&pool);
        let error: Error = budget.reserve("repeat", 1_001).expect_err("more than there is").into();
        assert_eq!(error.kind(), Kind::OutOfMemory);
        budget.keep(900).expect("there is room");
        assert!(budget.reserve("repeat", 101).is_err());
        drop(budget);
        assert_eq!(pool.reserved(), 0);
    }
}
