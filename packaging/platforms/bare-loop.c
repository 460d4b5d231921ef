/* bare-loop.exe DIRECTORY: what a directory source asks of Windows for each file, and nothing else: once to
   inspect it, once to read it. Prints the milliseconds. Names are ASCII, in one directory. */
#include <stdio.h>
#include <windows.h>

static char names[1 << 20][16], buffer[1 << 16];

static HANDLE opened(const char *directory, const char *name, BY_HANDLE_FILE_INFORMATION *found) {
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s\\%s", directory, name);
  HANDLE file = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                            OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, NULL);
  if (file == INVALID_HANDLE_VALUE || !GetFileInformationByHandle(file, found)) exit(1);
  return file;
}

int main(int count, char **arguments) {
  char pattern[MAX_PATH];
  int files = 0;
  WIN32_FIND_DATAA entry;
  BY_HANDLE_FILE_INFORMATION found;
  ULONGLONG begun = GetTickCount64();
  if (count != 2) return 1;
  snprintf(pattern, sizeof pattern, "%s\\*", arguments[1]);
  HANDLE list = FindFirstFileA(pattern, &entry);
  do {
    if (entry.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) continue;
    snprintf(names[files++], sizeof names[0], "%s", entry.cFileName);
  } while (FindNextFileA(list, &entry));
  for (int at = 0; at < files; at++) CloseHandle(opened(arguments[1], names[at], &found));
  for (int at = 0; at < files; at++) {
    DWORD read = 0;
    HANDLE file = opened(arguments[1], names[at], &found);
    if (!ReadFile(file, buffer, sizeof buffer, &read, NULL)) return 1;
    CloseHandle(file);
  }
  printf("%d files in %llu ms\n", files, GetTickCount64() - begun);
  return 0;
}
