// A generator that goes on beside its reader: values lie ready for him, and where he is far behind it waits.
// It does not know what the values are.

/**
 * @param capacity values that may lie ready
 * @param onLeft called when the reader goes before the end
 */
export async function* runAhead<T>(
  values: AsyncGenerator<T, void>,
  capacity: number,
  onLeft: () => void,
): AsyncGenerator<T, void> {
  yield* new ReadableStream<T>(
    {
      async pull(ready) {
        const { done, value } = await values.next();
        if (done) ready.close();
        else ready.enqueue(value);
      },
      async cancel() {
        onLeft();
        await values.return();
      },
    },
    { highWaterMark: capacity },
  );
}
